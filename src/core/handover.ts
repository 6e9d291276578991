/**
 * State <-> the versioned document that one image leaves for the next.
 *
 * Readers ignore what they do not know and default what is missing, so an older and a newer image read each other's
 * documents (test/compatibility keeps one of every release).
 */
import { initialState } from "./initial.ts";
import type { Config, State, Worker } from "./model.ts";

/** Raised only when a reader could not make sense of the document at all. */
export const handoverFormat = 1;

export interface HandoverDocument {
  format: number;
  core: unknown;
}

export function encodeState(state: State): HandoverDocument {
  return { format: handoverFormat, core: state };
}

/** `config` is what this image was configured with: the defaults for settings that the document does not know. Throws a sentence. */
export function decodeState(document: unknown, config: Config): State {
  if (!isMapping(document) || !isMapping(document.core))
    throw new Error("the state document is not a mapping with a core");
  if (typeof document.format !== "number" || document.format > handoverFormat) {
    throw new Error(
      `the state document has format ${String(document.format)}; this einhorn reads formats up to ${handoverFormat}`,
    );
  }
  const { core } = document;
  const about = {
    pid: 0,
    version: "",
    commandName: null,
    socketPath: "",
    argv: [],
    binds: [],
    isPid1: false,
    preload: null,
  };
  const template = initialState(config, about, { argv: [], cwd: "/", env: {} }, 1);
  const state = adopt(template, core);
  if (!Array.isArray(core.workers)) throw new Error("the state document has no list of workers");
  return { ...state, workers: core.workers.map(decodeWorker).sort((a, b) => a.id - b.id) };
}

function decodeWorker(given: unknown): Worker {
  if (!isMapping(given) || typeof given.id !== "number" || typeof given.slot !== "number" || !isMapping(given.phase)) {
    throw new Error("the state document has a worker without id, slot or phase");
  }
  const template: Worker = {
    id: 0,
    pid: null,
    slot: 0,
    generation: 0,
    spawnedAt: 0,
    phase: { kind: "starting" },
    recycle: null,
    signals: [],
    pinged: null,
    status: null,
    deadline: null,
    watchdogAt: null,
    maxAgeAt: null,
    ackMs: null,
    rssBytes: null,
  };
  return { ...adopt(template, given), phase: given.phase as Worker["phase"] };
}

/** The template with every known field replaced by the given one where that has a fitting type. */
function adopt<T extends object>(template: T, given: Record<string, unknown>): T {
  const result: Record<string, unknown> = { ...(template as Record<string, unknown>) };
  for (const [key, standard] of Object.entries(template)) {
    const value = given[key];
    if (value === undefined) continue;
    // Unions (mode, ackMode) are taken whole; plain structs are filled up field by field, so that a new field gets its default.
    if (isMapping(standard) && isMapping(value) && !("kind" in standard) && key !== "launches")
      result[key] = adopt(standard, value);
    else if (fits(standard, value)) result[key] = value;
  }
  return result as T;
}

function fits(standard: unknown, value: unknown): boolean {
  if (standard === null || value === null) return true;
  if (Array.isArray(standard)) return Array.isArray(value);
  // "auto" or a name, a number or null: scalars of the same type.
  return typeof standard === typeof value;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
