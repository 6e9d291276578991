/**
 * The YAML of requests: what Ruby's, Go's and hand-written clients send, and nothing else. Block and flow collections,
 * plain, quoted and literal scalars, the core schema's types; no tags, anchors, aliases, complex keys or second documents.
 *
 * Why not the yaml package: its work is quadratic in many hostile inputs (16 KiB of commas: 0.6 s) and deep nesting makes
 * V8 abort the process ("RegExpCompiler Allocation failed") [measured, yaml 2.9.1], which no `catch` stops. This reader
 * takes one pass, its depth is limited, and test/control/small-yaml.test.ts compares its answers with that package's.
 */
import { Cursor } from "./yaml-cursor.ts";
import { doubleQuoted, literalBlock, Refusal, resolvePlain, singleQuoted } from "./yaml-scalars.ts";

export type Yaml = null | boolean | number | string | Yaml[] | { [key: string]: Yaml };

/** Names that mean something to JavaScript's objects: never a setting's name, and not worth the risk. */
export const forbiddenKeys: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

/** Reads one document. Returns its value, or the sentence that says what is wrong and where. */
export function readYaml(text: string): { value: Yaml } | { error: string } {
  const reader = new Reader(text.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n"));
  try {
    return { value: reader.document() };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { error: `${error.message} (${reader.position()})` };
  }
}

const refusedStarts: ReadonlyMap<string, string> = new Map([
  ["&", "Anchors are not accepted"],
  ["*", "Aliases are not accepted"],
  ["!", "Tags are not accepted"],
  ["%", "Directives are not accepted"],
  [">", "Folded text is not accepted"],
  ...["@", "`", ",", "]", "}", "|"].map((char): [string, string] => [char, `Unexpected "${char}"`]),
]);

class Reader extends Cursor {
  document(): Yaml {
    this.skip();
    if (this.atMarker("---")) this.at += 3;
    const value = this.#node(-1);
    this.skip();
    if (this.atMarker("...")) {
      this.at += 3;
      this.skip();
    }
    if (!this.done()) this.refuse(this.atMarker("---") ? "One document at a time" : "Unexpected text");
    return value;
  }

  /** The node that begins here, if it is indented deeper than `parent`; else null, which is what an empty node means. */
  #node(parent: number): Yaml {
    this.skip();
    const column = this.column();
    if (this.done() || column <= parent || this.atMarker("---") || this.atMarker("...")) return null;
    this.deeper();
    const value = this.atIndicator("-") ? this.#sequence(column) : this.#mappingOrScalar(column, parent);
    this.depth--;
    return value;
  }

  #sequence(column: number): Yaml[] {
    const items: Yaml[] = [];
    while (this.#goesOn(column) && this.atIndicator("-")) {
      this.at++;
      items.push(this.#node(column));
      this.skip();
    }
    return items;
  }

  #mappingOrScalar(column: number, parent: number): Yaml {
    const start = this.at;
    if (this.text[start] === "|") return this.take(literalBlock(this.text, start, parent));
    const first = this.#inline(parent, false);
    if (!this.atIndicator(":")) {
      this.endOfLine();
      return first;
    }
    this.at = start;
    return this.#mapping(column);
  }

  #mapping(column: number): Yaml {
    const map: { [key: string]: Yaml } = {};
    while (this.#goesOn(column)) {
      const key = this.#key(map, false);
      if (!this.atIndicator(":")) this.refuse('Expected ":" after the key');
      this.at++;
      map[key] = this.#valueOf(column);
      this.skip();
    }
    return map;
  }

  /** Whether the collection at `column` has another entry here. */
  #goesOn(column: number): boolean {
    if (this.done() || this.atMarker("---") || this.atMarker("...")) return false;
    if (this.column() > column) this.refuse("Wrong indentation");
    return this.column() === column;
  }

  #valueOf(column: number): Yaml {
    this.spaces();
    const char = this.text[this.at];
    if (char !== undefined && char !== "\n" && !(char === "#" && this.afterSpace())) {
      if (char === "|") return this.take(literalBlock(this.text, this.at, column));
      if (this.atIndicator("-")) this.refuse("A list begins on its own line, or with [");
      const value = this.#inline(column, false);
      if (this.atIndicator(":")) this.refuse("A mapping within a mapping begins on its own line, or with {");
      this.endOfLine();
      return value;
    }
    this.skip();
    // A list may stand at its key's own indentation, and Psych and go-yaml put it there.
    if (!this.done() && this.column() === column && this.atIndicator("-")) return this.#sequence(column);
    return this.#node(column);
  }

  #key(map: Readonly<Record<string, Yaml>>, inFlow: boolean): string {
    const start = this.at;
    const key = this.#inline(Number.POSITIVE_INFINITY, inFlow);
    if (this.at === start || typeof key === "object") this.refuse("A key must be a word");
    const name = String(key);
    if (forbiddenKeys.has(name)) this.refuse(`The key "${name}" is not accepted`);
    if (Object.hasOwn(map, name)) this.refuse("A key stands twice");
    return name;
  }

  /** A scalar or flow collection that begins here. Plain ones go on over lines that are indented deeper than `parent`. */
  #inline(parent: number, inFlow: boolean): Yaml {
    const char = this.text[this.at] ?? "";
    const refusal = refusedStarts.get(char);
    if (refusal !== undefined) this.refuse(refusal);
    if (this.atIndicator("?")) this.refuse("Complex keys are not accepted");
    if (this.atIndicator("-")) this.refuse('Unexpected "-"');
    if (char !== '"' && char !== "'" && char !== "[" && char !== "{") return this.#plain(parent, inFlow);
    const value =
      char === '"'
        ? this.take(doubleQuoted(this.text, this.at))
        : char === "'"
          ? this.take(singleQuoted(this.text, this.at))
          : this.#flow(char);
    this.spaces();
    return value;
  }

  #plain(parent: number, inFlow: boolean): Yaml {
    let value = this.#plainLine(inFlow);
    let several = false;
    while (this.text[this.at] === "\n" && parent !== Number.POSITIVE_INFINITY) {
      const end = this.at;
      const breaks = this.blank();
      if (
        this.done() ||
        this.atMarker("---") ||
        this.atMarker("...") ||
        "#,[]{}".includes(this.text[this.at] ?? "") ||
        (!inFlow && this.column() <= parent)
      ) {
        this.at = end;
        break;
      }
      several = true;
      value += (breaks > 1 ? "\n".repeat(breaks - 1) : " ") + this.#plainLine(inFlow);
    }
    return several ? value : resolvePlain(value);
  }

  #plainLine(inFlow: boolean): string {
    const start = this.at;
    for (; !this.done(); this.at++) {
      const char = this.text[this.at] ?? "";
      if (char === "\n" || (char === "#" && this.at > start && this.afterSpace())) break;
      if (inFlow && ",[]{}".includes(char)) break;
      if (char === ":" && (this.atIndicator(":") || (inFlow && ",[]{}".includes(this.text[this.at + 1] ?? "")))) break;
    }
    return this.text.slice(start, this.at).trimEnd();
  }

  #flow(open: "[" | "{"): Yaml {
    this.deeper();
    this.at++;
    const close = open === "[" ? "]" : "}";
    const list: Yaml[] = [];
    const map: { [key: string]: Yaml } = {};
    for (this.skip(); this.text[this.at] !== close; this.skip()) {
      if (open === "[") list.push(this.#inline(-1, true));
      else this.#flowPair(map);
      this.skip();
      if (this.text[this.at] === close) break;
      if (this.text[this.at] !== ",") this.refuse(`Expected "," or "${close}"`);
      this.at++;
    }
    this.at++;
    this.depth--;
    return open === "[" ? list : map;
  }

  #flowPair(map: { [key: string]: Yaml }): void {
    const key = this.#key(map, true);
    this.skip();
    map[key] = null;
    if (this.text[this.at] !== ":") return;
    this.at++;
    this.skip();
    if (!",}".includes(this.text[this.at] ?? "}")) map[key] = this.#inline(-1, true);
  }
}
