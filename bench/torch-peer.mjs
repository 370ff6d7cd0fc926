/** bench/torch_step.py as a process that answers one question after the other. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/**
 * @param first what it is to build; `started` is its answer
 * @param stderr `inherit` shows what python says, `ignore` does not
 */
export function startPeer(python, first, stderr = 'inherit') {
  const script = fileURLToPath(new URL('torch_step.py', import.meta.url));
  const child = spawn(python, [script], { stdio: ['pipe', 'pipe', stderr] });
  child.on('error', () => {}); // no such python: the first answer is its end
  child.stdin.on('error', () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (what) => {
    child.stdin.write(`${JSON.stringify(what)}\n`);
    const { value, done } = await lines.next();
    if (done) throw new Error(`${python} ended: it has no torch, or no room`);
    return JSON.parse(value);
  };
  return { started: ask(first), ask, end: () => child.stdin.end(), kill: () => child.kill() };
}
