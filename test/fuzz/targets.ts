/** What is fuzzed, and what must hold for any bytes: a clear answer or a clear error, never another exception. */
import { rmSync, writeFileSync } from "node:fs";
import { decodeRequest } from "../../src/control/wire.ts";
import { readCommand } from "../../src/core/commands.ts";
import { decodeState } from "../../src/core/handover.ts";
import type { Config } from "../../src/core/model.ts";
import { UserError } from "../../src/errors.ts";
import { readConfigFile } from "../../src/options/config-file.ts";
import { readInvocation } from "../../src/options.ts";
import { readJournal } from "../../src/system/journal.ts";

export type Target = (data: Buffer) => void | Promise<void>;

const file = `/tmp/einhorn-fuzz-${process.pid}.yaml`;
process.on("exit", () => rmSync(file, { force: true }));

/** One line of a client, up to the core's command. */
function wire(data: Buffer): void {
  const end = data.indexOf("\n");
  const decoded = decodeRequest(end < 0 ? data : data.subarray(0, end));
  if (decoded === null) return;
  if ("error" in decoded) {
    if (typeof decoded.error !== "string" || decoded.error === "") throw new Error("an error without words");
    return;
  }
  const { requestId, ...request } = decoded.request;
  const read = readCommand(request);
  if (!("command" in read) && read.error === "") throw new Error(`an error without words for ${String(requestId)}`);
}

/** Words of a command line, and EINHORN_OPTS after the first empty line. */
async function options(data: Buffer): Promise<void> {
  const [line = "", variable = ""] = data.toString().split("\n\n");
  // What a command line cannot have, and what would read files.
  const argv = line.split("\n").filter((word) => !word.includes("\0") && !/config|env-file/.test(word));
  const env = /config|env-file/.test(variable) ? {} : { EINHORN_OPTS: variable };
  await orExplained(() => readInvocation({ argv, env, cwd: "/", context: { cpus: () => 2 } }));
}

async function config(data: Buffer): Promise<void> {
  writeFileSync(file, data);
  await orExplained(() => readConfigFile(file, "/"));
}

/** The document of another release. */
function state(data: Buffer): void {
  let document: unknown;
  try {
    document = JSON.parse(data.toString());
  } catch {
    return;
  }
  try {
    decodeState(document, {} as Config);
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("the state document ")) throw error;
  }
}

/** The file that a crash left, whatever the crash did to it. */
function journal(data: Buffer): void {
  const start = 2 * 1024 * 1024;
  readJournal({
    read: (length, at) => data.subarray(Math.max(0, at - start), Math.max(0, at - start + Math.min(length, 2 ** 30))),
    write: () => {},
  });
}

async function orExplained(act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof UserError) || error.message === "") throw error;
  }
}

export const targets: Readonly<Record<string, Target>> = { wire, options, config, state, journal };
