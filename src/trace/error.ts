/** What a traced function did that a graph cannot hold, and where. */
export class TraceError extends Error {
  override name = 'TraceError';
}

/**
 * The line that called into TensorFlow.js: the first of the stack outside packages, Node and this folder, as `, called
 * at function (file:line:column)`; empty when there is none.
 */
export function callSite(stack: string | undefined): string {
  const line = (stack ?? '')
    .split('\n')
    .find(
      (frame) => /^\s+at /.test(frame) && !/node_modules|node:|\(<anonymous>\)|[\\/]src[\\/]trace[\\/]/.test(frame),
    );
  return line === undefined ? '' : `, called ${line.trim().replace('file://', '')}`;
}
