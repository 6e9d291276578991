/** Words to given options, by commander. Reading stops at the first word that is no option, or after `--`. */
import { UserError } from "../errors.ts";
import { nearest } from "./nearest.ts";
import { type Option, table } from "./table.ts";

/** One option as one source gave it, with where that was for the message about a wrong value. */
export interface Given {
  option: Option;
  /** "" for a flag. */
  value: string;
  where: string;
}

export interface CommandLine {
  given: readonly Given[];
  program: readonly string[];
}

export const badOption = "EINHORN_BAD_OPTION";

/** `source` begins the messages: "" for the command line, "EINHORN_OPTS: ". Throws a UserError for what it cannot read. */
export async function readWords(words: readonly string[], source: string): Promise<CommandLine> {
  if (!words[0]?.startsWith("-")) return { given: [], program: words };
  const plain = readPlain(words, source);
  if (plain !== null) return plain;
  const { Command, Option: CommanderOption } = await import("commander");
  const given: Given[] = [];
  const command = new Command()
    .helpOption(false)
    .passThroughOptions()
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  for (const option of table.filter((candidate) => mayOccur(candidate, words))) {
    command.addOption(new CommanderOption(flagsOf(option)));
    command.on(`option:${option.long}`, (value: string | null) => {
      given.push({ option, value: value ?? "", where: `${source}${namesOf(option)}: ` });
    });
  }
  try {
    // parseOptions, not parse: what follows it (actions, subcommands, help) is nothing to us and costs a millisecond.
    const { operands, unknown } = command.parseOptions([...words]);
    const wrong = unknown[0] ?? negativeNumber(words, operands);
    if (wrong !== undefined) throw unknownOption(wrong, source);
    return { given, program: operands };
  } catch (error) {
    throw error instanceof UserError ? error : missingValue(error, source);
  }
}

/**
 * The usual command line, each option and each value a word of its own: what it means is not in doubt, and commander would take
 * a tenth of the start for it. Null for anything else, mistakes above all, which commander is to judge.
 */
function readPlain(words: readonly string[], source: string): CommandLine | null {
  const given: Given[] = [];
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i] as string;
    if (word === "--") return { given, program: words.slice(i + 1) };
    if (!word.startsWith("-")) return { given, program: words.slice(i) };
    const option = table.find(({ short, long }) => word === `--${long}` || (short !== null && word === `-${short}`));
    if (option === undefined) return null;
    const value = option.value === null ? "" : words[++i];
    if (value === undefined || value.startsWith("-")) return null;
    given.push({ option, value, where: `${source}${namesOf(option)}: ` });
  }
  return { given, program: [] };
}

/** Commander takes -5 for an operand where no option is a digit. Only after -- can it be a program's name. */
function negativeNumber(words: readonly string[], operands: readonly string[]): string | undefined {
  const [first = ""] = operands;
  return /^-./.test(first) && words.at(-operands.length - 1) !== "--" ? first : undefined;
}

/** Registering an option costs commander 30 µs, 50 of them more than all the rest: only those that may occur are. */
function mayOccur({ short, long }: Option, words: readonly string[]): boolean {
  return words.some(
    (word) =>
      word === `--${long}` ||
      word.startsWith(`--${long}=`) ||
      (short !== null && word.startsWith("-") && !word.startsWith("--") && word.includes(short)),
  );
}

function flagsOf({ short, long, value }: Option): string {
  return `${short === null ? "" : `-${short}, `}--${long}${value === null ? "" : " <value>"}`;
}

/** As messages name it: "-n/--number". */
export function namesOf({ short, long }: Option): string {
  return short === null ? `--${long}` : `-${short}/--${long}`;
}

function unknownOption(word: string, source: string): UserError {
  const [name = "", ...values] = word.split("=");
  const flag = table.find(({ long }) => `--${long}` === name);
  if (flag !== undefined && values.length > 0) {
    return new UserError(badOption, `${source}${namesOf(flag)} takes no value`, 2);
  }
  const near = name.startsWith("--")
    ? nearest(
        name.slice(2),
        table.map(({ long }) => long),
      )
    : null;
  const hint = near === null ? "einhorn --help lists all" : `did you mean --${near}?`;
  return new UserError(badOption, `${source}unknown option ${name}; ${hint}`, 2);
}

function missingValue(error: unknown, source: string): unknown {
  const message =
    error instanceof Error && "code" in error && error.code === "commander.optionMissingArgument"
      ? error.message
      : null;
  const option = table.find((candidate) => message?.includes(`'${flagsOf(candidate)}'`));
  if (option === undefined) return error;
  return new UserError(badOption, `${source}${namesOf(option)} needs a value: ${option.value}`, 2);
}
