/**
 * The master replacing its own image in the same PID: the document in a memory file, the proof that the new image can
 * read it, and execve itself.
 */
import { closeSync, fstatSync, readSync, writeSync } from "node:fs";
import type { Launch, Pid } from "../core/model.ts";
import type { Options } from "../options.ts";
import { native } from "./native.ts";
import { candidatesOf } from "./processes.ts";
import { hold, release, withHold, withoutHold } from "./signals.ts";

/** What the check prints when all is well: a program that merely exits with 0 has proved nothing. */
const checkPassed = "einhorn can take over";
/** Before it, a line that begins like this has what workers are to be started from. */
const launchPrefix = "workers start from ";
/** The end of what a check wrote that is looked at: its program may be any, and write without end. A launch beyond that waits. */
const saidBytesMax = 1024 * 1024;
/** The end of what a failed check wrote, for the answer. */
const reasonCharsMax = 2000;

/** `document` in a memory file, ready to be inherited. */
export function writeDocument(document: unknown): number {
  const fd = native.memoryFile({ name: "einhorn-state" });
  try {
    const bytes = Buffer.from(JSON.stringify(document));
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, at);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

export const readDocument = (fd: number): unknown => JSON.parse(readEnd(fd, Number.POSITIVE_INFINITY).toString());

/** The last `bytesMax` of the file, wherever its offset is; leaves it open. */
function readEnd(fd: number, bytesMax: number): Buffer {
  const { size } = fstatSync(fd);
  const bytes = Buffer.alloc(Math.min(size, bytesMax));
  const from = size - bytes.length;
  for (let at = 0; at < bytes.length; ) {
    const got = readSync(fd, bytes, at, bytes.length - at, from + at);
    if (got === 0) break;
    at += got;
  }
  return bytes;
}

declare global {
  /** Set by bundle/single.mjs in the single executable, which is Node and the bundle in one. */
  var EINHORN_IS_SINGLE: true | undefined;
}

const thisProgram: readonly string[] = globalThis.EINHORN_IS_SINGLE
  ? [process.execPath]
  : [process.execPath, ...process.execArgv, process.argv[1] as string];

/** The command that starts the next image: --reexec-as, or this program as it was started; `running` is this one in any case. */
export function command(options: Options, which: "next" | "running" = "next"): readonly string[] {
  return (which === "next" ? options.reexecAs : null) ?? thisProgram;
}

/** The environment that einhorn was started with, less --drop-env-var. */
export function environment(options: Options): Record<string, string> {
  const env = withoutHold(process.env as Record<string, string>);
  for (const name of options.dropEnvVars) delete env[name];
  return env;
}

export const pairs = (env: Readonly<Record<string, string>>) =>
  Object.entries(env).map(([name, value]) => `${name}=${value}`);

/** A check under way: an ordinary child, whose end comes through the one way that all ends come. */
export interface Check {
  pid: Pid;
  output: number;
  command: string;
  timedOut: boolean;
}

/** Starts the proof on a copy of the state. Throws {code, syscall} when the command cannot be executed. */
export function startCheck(options: Options, document: unknown): Check {
  const words = [...command(options), "--upgrade-check", "--with-state-fd", "3"];
  const env = environment(options);
  const state = writeDocument(document);
  let output = -1;
  try {
    output = native.memoryFile({ name: "einhorn-check", private: true });
    const files = candidatesOf(words[0] as string, env.PATH);
    const pid = native.spawn({ files, args: words, env: pairs(env), fds: [state], stdio: [null, output, output] });
    return { pid, output, command: words.join(" "), timedOut: false };
  } catch (error) {
    if (output >= 0) closeSync(output);
    throw error;
  } finally {
    closeSync(state);
  }
}

/** What a check that passed says. */
export const verdict = (launch: Launch | null) =>
  launch === null ? checkPassed : `${launchPrefix}${JSON.stringify(launch)}\n${checkPassed}`;

/** Why the new image cannot take over, in words, or null and what it said to start workers from. Closes the check's output. */
export function judgeCheck(
  check: Check,
  code: number | null,
  signal: string | null,
): { reason: string | null; launch: Launch | null } {
  const said = readEnd(check.output, saidBytesMax).toString().trim();
  closeSync(check.output);
  if (code === 0 && said.endsWith(checkPassed)) return { reason: null, launch: launchIn(said) };
  return { reason: whyNot(check, said.slice(-reasonCharsMax), code, signal), launch: null };
}

/** Null where it said nothing of the kind, or nothing that can be read. */
function launchIn(said: string): Launch | null {
  const line = said.split("\n").findLast((text) => text.startsWith(launchPrefix));
  if (line === undefined) return null;
  try {
    const { argv, cwd, env } = JSON.parse(line.slice(launchPrefix.length));
    return Array.isArray(argv) && typeof cwd === "string" && typeof env === "object" && env ? { argv, cwd, env } : null;
  } catch {
    return null;
  }
}

function whyNot(check: Check, said: string, code: number | null, signal: string | null): string {
  if (check.timedOut) return `\`${check.command}\` did not finish in time`;
  const end = code === null ? `was killed by ${signal}` : `exited with code ${code}`;
  const hint = code === 0 ? ", but what it runs is not einhorn; see --reexec-as" : "";
  return `\`${check.command}\` ${end}${hint}${said === "" ? " and said nothing" : `: ${said}`}`;
}

/** Does not return when it succeeds; else the reason. The document must describe everything that is to live on. */
export function executeNext(options: Options, document: unknown): string {
  const words = command(options);
  const env = environment(options);
  let state = -1;
  try {
    hold();
    state = writeDocument(document);
    const args = [...words, "--with-state-fd", String(state), "--", ...options.program];
    const error = firstFailure(candidatesOf(words[0] as string, env.PATH), args, pairs(withHold(env)));
    return `${words[0]}: ${error}`;
  } catch (error) {
    return (error as Error).message;
  } finally {
    if (state >= 0) closeSync(state);
    release();
  }
}

function firstFailure(files: readonly string[], args: readonly string[], env: readonly string[]): string {
  let last = "not found";
  for (const file of files) {
    try {
      native.exec({ file, args, env });
    } catch (error) {
      const { code, syscall, message } = error as NodeJS.ErrnoException;
      last = code === undefined ? message : `${syscall} failed with ${code}`;
      if (code !== "ENOENT" && code !== "ENOTDIR") return last;
    }
  }
  return last;
}
