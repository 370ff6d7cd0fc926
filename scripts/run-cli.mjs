/** Starts `gqa` with the terminal handed through, and ends as it ended: the same exit code, or the same signal. */

import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import path from 'node:path';
import { ROOT } from './setup.mjs';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

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
    // Passed on, and waited for, so that a run saves what it has. From a terminal a signal reaches the child by itself
    // too: it takes what comes at once as one request.
    const forward = (signal) => child.kill(signal);
    for (const signal of SIGNALS) process.removeAllListeners(signal).on(signal, forward);
    child.on('error', (error) => {
      console.error(`${args[0]} could not be started: ${error.message}`);
      resolve(1);
    });
    child.on('close', (code, signal) => {
      for (const each of SIGNALS) process.off(each, forward);
      resolve(code ?? 128 + (constants.signals[signal] ?? 1));
    });
  });
}
