/** What an option is. */
import type { Options } from "../options.ts";
import type { ReadFile } from "./accounts.ts";

/** What reading a value may need of the world. */
export interface Context {
  cpus(): number;
  readFile?: ReadFile;
}

export interface Option {
  /** Without the dash; null: the option has no short form. */
  short: string | null;
  /** Without the dashes: also its key in the config file. */
  long: string;
  /** How help shows the value; null: a flag. */
  value: string | null;
  help: string;
  /** Puts a value into `options`, or refuses it. A flag gets "". */
  set(options: Options, value: string, context: Context): unknown;
  /** For options that may be given several times: forgets what sources of lower precedence said. */
  clear?(options: Options): unknown;
  /** Makes no sense in a config file. */
  argvOnly?: true;
}

type Set = Option["set"];

/** `names` is "-b, --bind" or "--bind". */
export function option(
  names: string,
  value: string | null,
  help: string,
  set: Set,
  more: Partial<Option> = {},
): Option {
  const match = /^(?:-(\w), )?--([\w-]+)$/.exec(names);
  if (match?.[2] === undefined) throw new Error(`bad option table: ${names}`);
  return { short: match[1] ?? null, long: match[2], value, help, set, ...more };
}
