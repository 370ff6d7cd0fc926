/** Starts `gqa` with the terminal handed through, and ends as it ended: the same exit code, or the same signal. */

import { spawn } from 'node:child_process';
import path from 'node:path';
import { ROOT } from './setup.mjs';

/** @param {string[]} args of gqa; relative paths stay relative to the caller's folder */
export function runCli(args) {
  return runNode([path.join(ROOT, 'bin/gqa.js'), ...args]);
}

/**
 * @param {string[]} args of node
 * @param {{ cwd?: string }} [options]
 * @returns {Promise<number>} exit code; 128 + number for a signal
 */
export function runNode(args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { stdio: 'inherit', ...options });
    // Ctrl-C reaches the child by itself; waiting for it lets the run save what it has. SIGTERM reaches only us.
    const forward = () => child.kill('SIGTERM');
    const wait = () => {};
    process.removeAllListeners('SIGINT').on('SIGINT', wait);
    process.removeAllListeners('SIGTERM').on('SIGTERM', forward);
    child.on('error', (error) => {
      console.error(`${args[0]} could not be started: ${error.message}`);
      resolve(1);
    });
    child.on('close', (code, signal) => {
      process.off('SIGINT', wait).off('SIGTERM', forward);
      resolve(code ?? { SIGINT: 130, SIGTERM: 143 }[signal] ?? 1);
    });
  });
}
