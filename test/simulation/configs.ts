/** What the operator of a made-up world asks for. */
import type { Config } from "../../src/core/model.ts";
import { plainConfig } from "../core/pool.ts";
import type { Chance } from "./random.ts";

export function randomConfig(chance: Chance): Config {
  const config = { ...plainConfig, number: 1 + chance.below(6) };
  config.ackMode = chance.pick<Config["ackMode"]>([
    { kind: "timer", ms: 0 },
    { kind: "timer", ms: 1000 },
    { kind: "manual" },
    { kind: "manual" },
    { kind: "notify" },
  ]);
  if (chance.oneIn(3)) config.maxUnacked = 1 + chance.below(4);
  if (chance.oneIn(4)) config.maxUpgradeAdditional = 1 + chance.below(3);
  if (chance.oneIn(3)) config.signalTimeoutMs = 2000;
  if (chance.oneIn(3)) config.ackTimeoutMs = 4000;
  if (chance.oneIn(4)) config.upgradeTimeoutMs = 20_000;
  if (chance.oneIn(3)) config.drainDelayMs = 500;
  if (chance.oneIn(3)) config.gracePeriodMs = 8000;
  if (chance.oneIn(5)) config.maxAgeMs = 60_000;
  if (chance.oneIn(5)) config.maxRssBytes = 1000;
  if (config.ackMode.kind === "notify" && chance.oneIn(3)) config.watchdogMs = 3000;
  if (chance.oneIn(12)) config.giveUpAfter = 3 + chance.below(3);
  if (chance.oneIn(12)) config.respawn = false;
  return config;
}
