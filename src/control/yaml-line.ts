/**
 * YAML of strangers, read with the yaml package, which is loaded when the first such line comes: JSON clients never need it.
 *
 * Its parser is not made for hostile input: 1 KiB of "? " keeps it busy for two minutes, and deep nesting makes V8 abort
 * the process ("RegExpCompiler Allocation failed"), which no `catch` stops [measured, yaml 2.9.1, Node 20]. Its lexer is
 * quick whatever comes, so the tokens are looked at first: what a request has no use for is refused by name, and the
 * number and nesting of the rest are limited.
 */
import { maxDepth } from "./plain-data.ts";

type Yaml = typeof import("yaml");

/** A request with a hundred settings has half of it. */
const maxTokens = 300;
/** YAML requests are typed by people or made by client libraries; whoever has more to say can say it in JSON. */
const maxBytes = 16 * 1024;

// The bundle has a plain `require`, run when called; the sources, run as they are, have none. node:module takes 3 ms to load.
const load = (): Yaml =>
  typeof require === "function"
    ? require("yaml")
    : process.getBuiltinModule("node:module").createRequire(import.meta.filename)("yaml");
let loaded: Yaml | null = null;

/** Reads one document. Returns its value, or the sentence that says what is wrong. Takes 50 ms at the very most. */
export function readYaml(text: string): { value: unknown } | { error: string } {
  if (text.length > maxBytes)
    return { error: `A request in YAML is at most ${maxBytes} bytes long; JSON may be longer` };
  loaded ??= load();
  const refusal = inspect(loaded, text);
  if (refusal !== null) return { error: refusal };
  const document = loaded.parseDocument(text, {
    version: "1.2",
    schema: "core",
    resolveKnownTags: false,
    merge: false,
    logLevel: "silent",
    prettyErrors: false,
  });
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) return { error: `Not valid YAML: ${problem.message}` };
  return { value: document.toJS({ maxAliasCount: 0 }) as unknown };
}

const refused: Readonly<Record<string, string>> = {
  anchor: "YAML anchors are not accepted",
  alias: "YAML aliases are not accepted",
  tag: "YAML tags are not accepted",
  "explicit-key-ind": "YAML complex keys are not accepted",
  "directive-line": "YAML directives are not accepted",
};

function inspect(yaml: Yaml, text: string): string | null {
  let tokens = 0;
  let depth = 0;
  let documents = 0;
  for (const token of new yaml.Lexer().lex(text)) {
    const type = yaml.CST.tokenType(token) ?? "scalar";
    const refusal = refused[type];
    if (refusal !== undefined) return refusal;
    if (++tokens > maxTokens) return "Too much YAML for one request";
    if (type === "flow-seq-start" || type === "flow-map-start") depth++;
    if (type === "flow-seq-end" || type === "flow-map-end") depth--;
    if (depth > maxDepth) return `Nested deeper than ${maxDepth}`;
    if (type === "doc-start" && ++documents > 1) return "One YAML document at a time";
  }
  return null;
}
