/** The command line of einhornsh. */
import { commandNameFault } from "../core/places.ts";
import { UserError } from "../errors.ts";
import { commandNames, splitCommands } from "./commands.ts";

export interface Invocation {
  /** `-c`, or a first word that is no command. */
  commandName: string | null;
  /** The command name was such a word, and could be a mistyped command. */
  nameWasGuessed: boolean;
  /** `-d`. */
  socketPath: string | null;
  /** What to run; null: interactive, or from stdin. */
  commands: string[][] | null;
  json: boolean;
  timeoutMs: number | null;
}

export const usage = `Usage: einhornsh [-c NAME] [-d PATH] [-e "CMD; CMD"] [--json] [--timeout S] [COMMAND [ARG...]]

Talks to a running einhorn. A first word that is no command is a command name: \`einhornsh web status\` is
\`einhornsh -c web status\`. Without a command: interactive on a terminal, else commands are read from stdin.

  -c, --command-name NAME  the einhorn that was started with -c NAME
  -d, --socket-path PATH   the command socket itself (@NAME: an abstract one)
  -e, --execute "CMD; ..." run these commands; the first that fails ends it
      --json               print each reply's data as one line of JSON
      --timeout S          give up after S seconds
  -h, --help               this text

Commands: ${commandNames.join(" ")}
\`einhornsh help\` asks the master what they mean.

Exit: 0 done, 1 the command failed or was refused, 2 usage, 3 no master there
`;

const withValue: Readonly<Record<string, string>> = {
  "-c": "--command-name",
  "--command-name": "--command-name",
  "-d": "--socket-path",
  "--socket-path": "--socket-path",
  "-e": "--execute",
  "--execute": "--execute",
  "--timeout": "--timeout",
};

/** Throws UserError with exit code 2. */
export function readArguments(argv: readonly string[]): Invocation | "help" {
  const given = new Map<string, string>();
  const words: string[] = [];
  let json = false;
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] ?? "";
    const [option = "", joined] = split(argument);
    const name = withValue[option];
    if (argument === "-h" || argument === "--help") return "help";
    if (argument === "--json") json = true;
    // After the command all is the master's, but for what says how to print and how long to wait.
    else if (words.length > 0 && name !== "--timeout") words.push(argument);
    else if (name !== undefined) given.set(name, joined ?? value(argument, argv[++i]));
    else if (argument.startsWith("-")) fail(`einhornsh does not know the option ${argument}.`);
    else words.push(argument);
  }
  return assemble(given, words, json);
}

/** `--option=value` and `-ovalue` in two. */
function split(argument: string): [string, string?] {
  const long = /^(--[^=]+)=([\s\S]*)$/.exec(argument);
  if (long !== null) return [long[1] ?? "", long[2] ?? ""];
  if (/^-[cde]./.test(argument)) return [argument.slice(0, 2), argument.slice(2)];
  return [argument];
}

function assemble(given: ReadonlyMap<string, string>, words: string[], json: boolean): Invocation {
  const socketPath = given.get("--socket-path") ?? null;
  let commandName = given.get("--command-name") ?? null;
  const first = words[0];
  const nameWasGuessed =
    commandName === null && socketPath === null && first !== undefined && !commandNames.includes(first);
  if (nameWasGuessed) commandName = words.shift() ?? null;
  const fault = commandName === null ? null : commandNameFault(commandName);
  if (fault !== null) fail(`${JSON.stringify(commandName)} cannot be a command name: ${fault}.`);
  const text = given.get("--execute");
  if (text !== undefined && words.length > 0) fail(`Give commands with -e or as words, not both: ${words.join(" ")}`);
  const commands = text === undefined ? (words.length > 0 ? [words] : null) : readCommands(text);
  const unknown = words[0];
  if (unknown !== undefined && !commandNames.includes(unknown)) {
    fail(`einhorn has no command ${JSON.stringify(unknown)}. Commands: ${commandNames.join(" ")}`);
  }
  return { commandName, nameWasGuessed, socketPath, commands, json, timeoutMs: readTimeout(given.get("--timeout")) };
}

function readCommands(text: string): string[][] {
  const result = splitCommands(text);
  if ("error" in result) fail(`Option -e: ${result.error}.`);
  if (result.commands.length === 0) fail("Option -e names no command.");
  return result.commands;
}

function readTimeout(text: string | undefined): number | null {
  if (text === undefined) return null;
  const seconds = Number(text);
  if (text.trim() === "" || !(seconds > 0) || seconds > 1e6)
    fail(`--timeout is a number of seconds above 0, not ${JSON.stringify(text)}.`);
  return seconds * 1000;
}

function value(option: string, text: string | undefined): string {
  return text ?? fail(`Option ${option} needs a value.`);
}

function fail(message: string): never {
  throw new UserError("EINHORNSH_USAGE", `${message}\nSee einhornsh --help.`, 2);
}
