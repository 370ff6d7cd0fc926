/** The one error class that decides between a plain message and a stack trace, and the table of exit codes. */

/** Exit codes of every command (docs/cli.md lists them). */
export const ExitCode = {
  ok: 0,
  unexpected: 1,
  /** Command line, config, or things that do not fit together. */
  usage: 2,
  /** Data missing or bad. */
  data: 3,
  /** Node, native runtime or GPU. */
  environment: 4,
  /** Reading or writing files, checkpoints. */
  io: 5,
  /** Training went wrong: a loss that is not finite. */
  training: 6,
  /** A sweep came to its end, but some of its runs failed. */
  sweepFailures: 7,
  sighup: 129,
  sigint: 130,
  sigterm: 143,
} as const;

export type ExitCodeName = keyof typeof ExitCode;

/**
 * An error that the user can act on: shown as its message and `hint` (what to do next), without a stack unless
 * `--debug` is given. The message says what was found, what was expected and where (file:line:column, or file and byte
 * offset).
 */
export class GqaError extends Error {
  readonly code: ExitCodeName;
  readonly hint: string | undefined;

  constructor(code: ExitCodeName, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'GqaError';
    this.code = code;
    this.hint = options.hint;
  }
}

/**
 * The error that led to an end, with what went wrong besides while that was dealt with: the first one is what a user
 * must see.
 */
export function withAfterthought(error: unknown, afterthought: string): unknown {
  if (error instanceof GqaError) {
    return new GqaError(error.code, error.message, {
      hint: error.hint === undefined ? afterthought : `${error.hint}\n${afterthought}`,
      cause: error,
    });
  }
  // of its first line, which is what is shown
  if (error instanceof Error) error.message = error.message.replace(/$/m, ` (${afterthought})`);
  return error;
}
