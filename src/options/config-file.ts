/** The config file: YAML whose keys are the long option names. Every complaint begins with FILE:LINE:COLUMN. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Document, LineCounter, Node, Pair, Scalar, YAMLMap, YAMLSeq } from "yaml";
import { UserError } from "../errors.ts";
import type { Given } from "./command-line.ts";
import { nearest } from "./nearest.ts";
import { type Option, table } from "./table.ts";

const badConfig = "EINHORN_BAD_CONFIG";
/** Far above any real file, far below what would hurt. */
const maxBytes = 1024 * 1024;

type Yaml = typeof import("yaml");

/** Reads the file (relative to `cwd`). Throws a UserError that names the place. */
export async function readConfigFile(file: string, cwd: string): Promise<Given[]> {
  const text = load(file, cwd);
  const yaml = await import("yaml");
  const counter = new yaml.LineCounter();
  const document = yaml.parseDocument(text, {
    lineCounter: counter,
    prettyErrors: false,
    uniqueKeys: true,
    merge: false,
  });
  return new Reader(yaml, file, counter).read(document);
}

function load(file: string, cwd: string): string {
  try {
    const content = readFileSync(resolve(cwd, file));
    if (content.length <= maxBytes) return content.toString("utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new UserError(badConfig, `--config: cannot read ${file}: ${code}`, 2);
  }
  throw new UserError(badConfig, `--config: ${file} is larger than ${maxBytes} bytes`, 2);
}

class Reader {
  readonly #yaml: Yaml;
  readonly #file: string;
  readonly #counter: LineCounter;

  constructor(yaml: Yaml, file: string, counter: LineCounter) {
    this.#yaml = yaml;
    this.#file = file;
    this.#counter = counter;
  }

  read(document: Document.Parsed): Given[] {
    const problem = document.errors[0] ?? document.warnings[0];
    if (problem !== undefined) this.#fail(problem.pos[0], sentence(problem.code, problem.message));
    this.#refuseTagsAndAliases(document);
    const { contents } = document;
    if (contents === null || (this.#yaml.isScalar(contents) && contents.value === null)) return [];
    if (!this.#yaml.isMap(contents)) {
      return this.#fail(start(contents), "the file must be a mapping of option names to values");
    }
    return (contents as YAMLMap<Node, Node | null>).items.flatMap((pair) => this.#readPair(pair));
  }

  #readPair({ key, value }: Pair<Node, Node | null>): Given[] {
    const option = this.#findOption(key);
    if (value === null) return this.#fail(start(key), `${option.long} has no value`);
    if (this.#yaml.isSeq(value)) return this.#readList(option, value);
    if (!this.#yaml.isScalar(value)) {
      return this.#fail(start(value), `${option.long}: ${expected(option)}, not a mapping`);
    }
    return this.#readScalar(option, value);
  }

  #findOption(key: Node): Option {
    const name = this.#yaml.isScalar(key) ? String(key.value) : "";
    const options = table.filter(({ argvOnly }) => !argvOnly);
    const option = options.find(({ long }) => long === name);
    if (option !== undefined) return option;
    if (table.some(({ long }) => long === name)) {
      return this.#fail(start(key), `${name} can be given on the command line only`);
    }
    const near = nearest(
      name,
      options.map(({ long }) => long),
    );
    const hint = near === null ? "keys are the long names of the options in einhorn --help" : `did you mean ${near}?`;
    return this.#fail(start(key), `unknown key ${JSON.stringify(name)}; ${hint}`);
  }

  #readList(option: Option, list: YAMLSeq): Given[] {
    if (option.value === null || option.clear === undefined) {
      return this.#fail(start(list), `${option.long}: ${expected(option)}, not a list`);
    }
    return list.items.flatMap((item) => {
      if (this.#yaml.isScalar(item)) return this.#readScalar(option, item);
      return this.#fail(
        start(this.#yaml.isNode(item) ? item : list),
        `${option.long}: a list of texts; quote those with [ ] or { }`,
      );
    });
  }

  #readScalar(option: Option, scalar: Scalar): Given[] {
    const where = `${this.#place(start(scalar))}: ${option.long}: `;
    const { value } = scalar;
    if (option.value === null) {
      if (value === true) return [{ option, value: "", where }];
      return value === false ? [] : this.#fail(start(scalar), `${option.long}: ${expected(option)}`);
    }
    if (typeof value === "string") return [{ option, value, where }];
    // As it was written: 022 is a umask, and YAML would make 22 of it.
    if (typeof value === "number") return [{ option, value: scalar.source ?? String(value), where }];
    return this.#fail(start(scalar), `${option.long}: ${expected(option)}`);
  }

  #refuseTagsAndAliases(document: Document.Parsed): void {
    this.#yaml.visit(document, {
      Alias: (_, node) => this.#fail(start(node), "aliases (*) are not allowed here"),
      Node: (_, node) => {
        if ("anchor" in node && node.anchor !== undefined) this.#fail(start(node), "anchors (&) are not allowed here");
        if (node.tag !== undefined) this.#fail(start(node), `tags (${node.tag}) are not allowed here`);
      },
    });
  }

  #place(offset: number): string {
    const { line, col } = this.#counter.linePos(offset);
    return `${this.#file}:${line}:${col}`;
  }

  #fail(offset: number, message: string): never {
    throw new UserError(badConfig, `${this.#place(offset)}: ${message}`, 2);
  }
}

function start(node: Node): number {
  return node.range?.[0] ?? 0;
}

function expected(option: Option): string {
  if (option.value === null) return "true or false";
  return option.clear === undefined ? "a text or a number" : "a text or a list of texts";
}

/** The library's messages are for programmers in two places. */
function sentence(code: string, message: string): string {
  if (code === "DUPLICATE_KEY") return "this key is here for the second time";
  if (code === "MULTIPLE_DOCS") return "there is more than one document in this file";
  if (code === "UNEXPECTED_TOKEN") return `${message}; a value that begins with [ or { needs quotes`;
  if (code === "TAG_RESOLVE_FAILED") return "tags (!) are not allowed here";
  return message.split("\n")[0] ?? message;
}
