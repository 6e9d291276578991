/**
 * The scalars of small-yaml.ts: what a plain word means, and where a quoted or block scalar ends. Each function takes the
 * text and where the scalar begins, looks at every character once, and returns its value and where it ends.
 */

/** What a request's author got wrong; the message is for them. */
export class Refusal extends Error {}

export interface Scanned {
  value: string;
  end: number;
}

const integer = /^([-+]?\d+|0x[0-9a-fA-F]+|0o[0-7]+)$/;
const float = /^[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$/;
const words: ReadonlyMap<string, null | boolean> = new Map<string, null | boolean>([
  ...["", "~", "null", "Null", "NULL"].map((word): [string, null] => [word, null]),
  ...["true", "True", "TRUE"].map((word): [string, boolean] => [word, true]),
  ...["false", "False", "FALSE"].map((word): [string, boolean] => [word, false]),
]);

/** The type of a plain scalar by YAML's core schema, 1.2.2 section 10.3.2, without infinities and not-a-number. */
export function resolvePlain(text: string): null | boolean | number | string {
  const word = words.get(text);
  if (word !== undefined) return word;
  return integer.test(text) || float.test(text) ? Number(text) : text;
}

/** Escapes of double-quoted scalars, YAML 1.2.2 section 5.7. */
const escapes: ReadonlyMap<string, string> = new Map([
  ...Object.entries({ "0": "\0", a: "\x07", b: "\b", t: "\t", n: "\n", v: "\v", f: "\f", r: "\r", e: "\x1b" }),
  ...Object.entries({ " ": " ", '"': '"', "/": "/", "\\": "\\", "\t": "\t" }),
  ...Object.entries({ N: "\x85", _: "\xa0", L: "\u2028", P: "\u2029" }),
]);
const hexDigits: ReadonlyMap<string, number> = new Map(Object.entries({ x: 2, u: 4, U: 8 }));

export function singleQuoted(text: string, start: number): Scanned {
  let value = "";
  let from = start + 1;
  for (;;) {
    const quote = text.indexOf("'", from);
    if (quote < 0) throw new Refusal("A quote is not closed");
    value += text.slice(from, quote);
    if (text[quote + 1] !== "'") return { value: fold(value), end: quote + 1 };
    value += "'";
    from = quote + 2;
  }
}

export function doubleQuoted(text: string, start: number): Scanned {
  let value = "";
  let from = start + 1;
  for (let at = from; at < text.length; at++) {
    const char = text[at];
    if (char !== '"' && char !== "\\") continue;
    value += fold(text.slice(from, at));
    if (char === '"') return { value, end: at + 1 };
    const escaped = readEscape(text, at + 1);
    value += escaped.value;
    from = escaped.end;
    at = from - 1;
  }
  throw new Refusal("A quote is not closed");
}

function readEscape(text: string, at: number): Scanned {
  const char = text[at] ?? "";
  let end = at + 1;
  if (char === "\n") {
    while (text[end] === " " || text[end] === "\t") end++;
    return { value: "", end };
  }
  const value = escapes.get(char);
  if (value !== undefined) return { value, end };
  const length = hexDigits.get(char) ?? 0;
  const digits = text.slice(end, end + length);
  const code = Number.parseInt(digits, 16);
  if (length === 0 || digits.length < length || !/^[0-9a-fA-F]+$/.test(digits) || code > 0x10ffff) {
    throw new Refusal(`Unknown escape "\\${char}"`);
  }
  end += length;
  return { value: String.fromCodePoint(code), end };
}

/** Line folding in quoted scalars: one line break is a space, each further one stays. */
function fold(text: string): string {
  if (!text.includes("\n")) return text;
  const lines = text.split("\n");
  const last = lines.length - 1;
  let value = (lines[0] ?? "").trimEnd();
  let breaks = 0;
  for (let i = 1; i <= last; i++) {
    const line = i === last ? (lines[i] ?? "").trimStart() : (lines[i] ?? "").trim();
    breaks++;
    if (line === "" && i < last) continue;
    value += (breaks > 1 ? "\n".repeat(breaks - 1) : " ") + line;
    breaks = 0;
  }
  return value;
}

/** A literal block scalar (`|`), whose lines are indented deeper than `parent`. What Psych makes of text with line breaks. */
export function literalBlock(text: string, start: number, parent: number): Scanned {
  const headerEnd = lineEnd(text, start);
  const header = /^\|([-+]?)([ \t]+#.*|[ \t]*)$/.exec(text.slice(start, headerEnd));
  if (header === null) throw new Refusal('Of block scalars only "|", "|-" and "|+" are accepted');
  const lines: string[] = [];
  let indent = -1;
  let end = headerEnd;
  while (end + 1 < text.length) {
    const next = lineEnd(text, end + 1);
    const line = text.slice(end + 1, next);
    const depth = line.length - line.trimStart().length;
    if (line.trim() !== "") {
      if (indent < 0) indent = depth;
      if (depth <= parent || depth < indent) break;
    }
    lines.push(indent < 0 ? "" : line.slice(indent));
    end = next;
  }
  const body = lines.map((line) => `${line}\n`).join("");
  if (header[1] === "+") return { value: body, end };
  const stripped = body.slice(0, lastNonNewline(body) + 1);
  return { value: header[1] === "-" || stripped === "" ? stripped : `${stripped}\n`, end };
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end;
}

function lastNonNewline(text: string): number {
  let at = text.length - 1;
  while (text[at] === "\n") at--;
  return at;
}
