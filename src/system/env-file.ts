/** `--env-file`: KEY=VALUE lines for the workers' environment, in the form that shells, Docker and systemd share. */
import { readFileSync } from "node:fs";
import { UserError } from "../errors.ts";

const badEnvFile = "EINHORN_BAD_ENV_FILE";

/** Reads the file. Throws a UserError that names the line. */
export function readEnvFile(path: string): Record<string, string> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new UserError(badEnvFile, `--env-file: cannot read ${path}: ${code}`);
  }
  return parseEnvFile(text, path);
}

/**
 * Empty lines and those that begin with # say nothing; `export ` may stand before a name; the later of two counts.
 * 'Single' quotes keep all as it is, "double" ones know \n \t \r \" \\ \$ and may go over several lines. Without quotes
 * the value ends with the line or before " #". Nothing is expanded.
 */
export function parseEnvFile(text: string, path: string): Record<string, string> {
  const variables: Record<string, string> = Object.create(null);
  const rest = text.replace(/^\uFEFF/, "").replaceAll("\r\n", "\n");
  let line = 1;
  for (let at = 0; at < rest.length; ) {
    const { end, entry } = readEntry(rest, at, (reason) => {
      throw new UserError(badEnvFile, `${path}:${line}: ${reason}`);
    });
    if (entry !== null) variables[entry.name] = entry.value;
    line += rest.slice(at, end).split("\n").length - 1;
    at = end;
  }
  return { ...variables };
}

type Fail = (reason: string) => never;

interface Entry {
  name: string;
  value: string;
}

const blank = /[ \t]*(?:#[^\n]*)?(?:\n|$)/y;
const nameAndSign = /[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*=[ \t]*/y;
const single = /'([^']*)'/y;
const double = /"((?:[^"\\]|\\[\s\S])*)"/y;
const bare = /[^\n]*/y;

/** One line, or the lines of one quoted value. */
function readEntry(text: string, start: number, fail: Fail): { end: number; entry: Entry | null } {
  const skipped = match(blank, text, start);
  if (skipped !== null) return { end: start + skipped[0].length, entry: null };
  const left = match(nameAndSign, text, start);
  if (left?.[1] === undefined) return fail("not a line of the form NAME=VALUE");
  const valueStart = start + left[0].length;
  const { value, end } = readValue(text, valueStart, fail);
  if (value.includes("\0")) fail(`the value of ${left[1]} holds a NUL byte`);
  return { end, entry: { name: left[1], value } };
}

function readValue(text: string, start: number, fail: Fail): { value: string; end: number } {
  const quote = text.charAt(start);
  if (quote !== "'" && quote !== '"') {
    const line = match(bare, text, start)?.[0] ?? "";
    return { value: line.replace(/(^|[ \t])#.*$/, "").trim(), end: start + line.length + 1 };
  }
  const quoted = match(quote === "'" ? single : double, text, start);
  if (quoted?.[1] === undefined) return fail(`a ${quote} is never closed`);
  const after = match(blank, text, start + quoted[0].length);
  if (after === null) return fail(`text after the closing ${quote}`);
  const value = quote === "'" ? quoted[1] : expandEscapes(quoted[1]);
  return { value, end: start + quoted[0].length + after[0].length };
}

const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "\n": "" };

function expandEscapes(text: string): string {
  return text.replace(/\\([ntr"\\$`\n])/g, (_, char: string) => escapes[char] ?? char);
}

function match(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}
