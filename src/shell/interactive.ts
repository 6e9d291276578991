/** einhornsh without a command: a prompt on a terminal, or a list of commands on stdin. */
import { createInterface } from "node:readline";
import { isatty } from "node:tty";
import { UserError } from "../errors.ts";
import { commandNames, splitCommands } from "./commands.ts";
import { print, stderr, stdout } from "./print.ts";
import type { Session } from "./session.ts";

const leaving = new Set(["exit", "quit"]);

/** Returns the exit code. */
export function converse(session: Session): Promise<number> {
  return isatty(0) ? prompt(session) : runStdin(session);
}

/** Runs each line as it comes; the first command that fails ends it, so that a script does not go on from a failure. */
async function runStdin(session: Session): Promise<number> {
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
    const code = await runLine(session, line);
    if (code === "leave") return 0;
    if (code !== 0) return code;
  }
  return 0;
}

async function prompt(session: Session): Promise<number> {
  await session.run(["ehlo"]);
  const terminal = createInterface({ input: process.stdin, output: process.stdout, prompt: "> ", completer: complete });
  let running = false;
  // Ctrl-C leaves a stream such as `events`; at the prompt it leaves the shell.
  terminal.on("SIGINT", () => {
    if (running) session.close();
    else terminal.close();
  });
  terminal.prompt();
  for await (const line of terminal) {
    running = true;
    const code = await runLine(session, line).catch(report);
    running = false;
    if (code === "leave") break;
    terminal.prompt();
  }
  terminal.close();
  print(stdout, "\n");
  return 0;
}

/** On a terminal a master that is gone is told and tried again with the next command. */
function report(error: unknown): 1 {
  if (!(error instanceof UserError)) throw error;
  print(stderr, error.message);
  return 1;
}

async function runLine(session: Session, line: string): Promise<number | "leave"> {
  const split = splitCommands(line);
  if ("error" in split) {
    print(stderr, split.error);
    return 2;
  }
  for (const words of split.commands) {
    if (leaving.has(words[0] ?? "")) return "leave";
    const code = await session.run(words);
    if (code !== 0) return code;
  }
  return 0;
}

function complete(line: string): [string[], string] {
  const word = /(?:^|;)\s*([^\s;]*)$/.exec(line)?.[1];
  if (word === undefined) return [[], line];
  return [[...commandNames, ...leaving].filter((name) => name.startsWith(word)), word];
}
