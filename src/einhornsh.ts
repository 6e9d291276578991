/** `einhornsh`: the operator's shell, and a probe and deployment gate for containers. Needs no addon. */
import { UserError } from "./errors.ts";
import { readArguments, usage } from "./shell/arguments.ts";
import { print, stderr, stdout } from "./shell/print.ts";
import { limitTime, Session } from "./shell/session.ts";

async function main(argv: readonly string[]): Promise<number> {
  const invocation = readArguments(argv);
  if (invocation === "help") {
    print(stdout, usage);
    return 0;
  }
  limitTime(invocation.timeoutMs);
  const session = new Session(invocation);
  if (invocation.commands === null) {
    // A name that nobody answers to is told at once, not with the first line of input.
    await session.connect();
    // Loaded when it is needed: a probe needs neither readline nor a terminal.
    const { converse } = await import("./shell/interactive.ts");
    return converse(session);
  }
  for (const words of invocation.commands) {
    const code = await session.run(words);
    if (code !== 0) return code;
  }
  return 0;
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    if (!(error instanceof UserError)) throw error;
    print(stderr, `einhornsh: ${error.message}`);
    process.exit(error.exitCode);
  },
);
