/** The state of a master before anything has happened. */
import type { About, Config, Launch, State } from "./model.ts";

/** The first generation. Upstream's version counts from 0 too. */
export const firstGeneration = 0;

export function initialState(config: Config, about: About, launch: Launch, seed: number): State {
  return {
    config,
    mode: { kind: "running" },
    handover: null,
    generation: firstGeneration,
    lastGeneration: firstGeneration,
    launches: { [firstGeneration]: launch },
    workers: [],
    backoffs: [],
    nextId: 1,
    deathsInRow: 0,
    exitCode: 0,
    startedAt: 0,
    recentDeaths: [],
    lastUpgrade: null,
    started: false,
    about,
    measureAt: null,
    watchers: [],
    waiters: [],
    counters: {
      starts: 0,
      deaths: { clean: 0, code: 0, signal: 0, oom: 0, unspawned: 0 },
      acks: 0,
      ackMsSum: 0,
      upgradesDone: 0,
      upgradesFailed: 0,
      upgradeMsSum: 0,
      orphans: 0,
      reexecs: 0,
      crashes: 0,
      lastReexecMs: 0,
    },
    random: seed,
  };
}
