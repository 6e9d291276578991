/**
 * An operator's mistake or a refused environment: printed as one message without a stack, then exit with `exitCode`.
 * Anything else that is thrown is a bug.
 */
export class UserError extends Error {
  readonly code: string;
  readonly exitCode: number;
  constructor(code: string, message: string, exitCode = 1) {
    super(message);
    this.code = code;
    this.exitCode = exitCode;
  }
}
