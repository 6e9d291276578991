/**
 * Which zygote loads `-p PATH` for a worker's command, and what the program finds as its arguments. By the extension of PATH
 * first, else by the command's own interpreter, else PATH is a zygote itself (docs/preloading.md).
 */
import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { basename, join } from "node:path";
import { candidatesOf } from "./processes.ts";

export interface ZygoteCommand {
  /** What is executed. */
  argv: readonly string[];
  /** The program's name (`$0`, `sys.argv[0]`) and its arguments: the words after the interpreter and its options. */
  program: readonly string[];
}

interface Language {
  /** In dist/, beside the bundle. */
  file: string;
  /** The extension of PATH. */
  extension: RegExp;
  /** What the last part of an interpreter's path looks like. */
  interpreter: RegExp;
  /** Where neither the command nor its first line names one. */
  standard: string;
  /** Options that take the next word with them. */
  withValue: ReadonlySet<string>;
  /** Options after which the next word, or the rest, is code or a module instead of a file. */
  instead: ReadonlySet<string>;
}

const languages: readonly Language[] = [
  {
    file: "zygote.rb",
    extension: /\.(rb|ru)$/,
    interpreter: /^(j|truffle)?ruby[\d.]*$/,
    standard: "ruby",
    withValue: new Set(["-I", "-r", "-C", "-E"]),
    instead: new Set(["-e"]),
  },
  {
    file: "zygote.py",
    extension: /\.py$/,
    interpreter: /^(python|pypy)[\d.]*$/,
    standard: "python3",
    withValue: new Set(["-W", "-X", "--check-hash-based-pycs"]),
    instead: new Set(["-c", "-m"]),
  },
];

/** Commands that set the stage for the interpreter that follows them. */
const launchers: readonly (readonly string[])[] = [
  ["bundle", "exec"],
  ["poetry", "run"],
  ["uv", "run"],
  ["pipenv", "run"],
];

const here = import.meta.dirname;
const folders = [here, `${here}/../../share/zygote`];

/** Null where nothing can load `path`: no extension that we know, no interpreter that we know, no executable file. */
export function zygoteCommand(o: {
  path: string;
  argv: readonly string[];
  cwd: string;
  searchPath: string | undefined;
}): ZygoteCommand | null {
  const launcher = launchers.find((words) => words.every((word, index) => basename(o.argv[index] ?? "") === word));
  const prefix = o.argv.slice(0, launcher?.length ?? 0);
  const rest = o.argv.slice(prefix.length);
  const interpreter = basename(rest[0] ?? "");
  const byExtension = languages.find(({ extension }) => extension.test(o.path));
  const language = byExtension ?? languages.find((other) => other.interpreter.test(interpreter));
  if (language === undefined) return ownZygote(o);
  const script = folders.map((folder) => join(folder, language.file)).find(existsSync) ?? language.file;
  if (!language.interpreter.test(interpreter)) {
    const found =
      prefix.length > 0 ? [language.standard] : (interpreterOf(rest[0] ?? "", language, o) ?? [language.standard]);
    return { argv: [...prefix, ...found, script], program: rest };
  }
  const { options, program } = splitWords(rest.slice(1), language);
  return { argv: [...prefix, rest[0] as string, ...options, script], program: program.length > 0 ? program : rest };
}

/** `-p` names an executable that speaks the protocol itself. */
function ownZygote({ path, argv, cwd }: { path: string; argv: readonly string[]; cwd: string }): ZygoteCommand | null {
  const file = path.startsWith("/") ? path : join(cwd, path);
  return existsSync(file) ? { argv: [file], program: argv } : null;
}

/** The interpreter's own options, and what comes after them. */
function splitWords(words: readonly string[], language: Language): { options: string[]; program: string[] } {
  const options: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string;
    if (language.instead.has(word)) return { options, program: [word, ...words.slice(at + 2)] };
    if (word === "--") return { options, program: words.slice(at + 1) };
    if (!word.startsWith("-") || word === "-") return { options, program: words.slice(at) };
    options.push(word);
    if (language.withValue.has(word) && at + 1 < words.length) options.push(words[++at] as string);
  }
  return { options, program: [] };
}

/** The first line of a script names its interpreter: that of a virtual environment, for one. */
function interpreterOf(
  program: string,
  language: Language,
  { cwd, searchPath }: { cwd: string; searchPath: string | undefined },
): string[] | null {
  const file = candidatesOf(program, searchPath)
    .map((name) => (name.startsWith("/") ? name : join(cwd, name)))
    .find(existsSync);
  const line = file === undefined ? null : /^#! *(.*)/.exec(firstBytes(file));
  const words = line?.[1]?.trim().split(/\s+/) ?? [];
  const found = words.findIndex((word) => language.interpreter.test(basename(word)));
  return found < 0 ? null : [words[found] as string];
}

/** Linux reads 256 bytes of the line (execve(2)). */
function firstBytes(file: string): string {
  try {
    const fd = openSync(file, "r");
    try {
      const buffer = Buffer.alloc(256);
      return buffer.toString("latin1", 0, readSync(fd, buffer, 0, buffer.length, 0)).split("\n")[0] ?? "";
    } finally {
      closeSync(fd);
    }
  } catch {
    return "";
  }
}
