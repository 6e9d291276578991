/** Rules that end what an upgrade began: a check, a soak, the upgrade itself. */

import * as messages from "../messages.ts";
import { census } from "../pool.ts";
import { set, type Turn, wake } from "../turn.ts";
import { announce, canaryCount, failUpgrade, finishUpgrade, setUpgrade } from "../upgrade.ts";

/** A new image that has not proved itself by then is not going to; the old one goes on. */
export const checkTimeoutMs = 30_000;

export function endHungCheck(turn: Turn): void {
  const { handover } = turn.state;
  if (handover?.phase !== "checking") return;
  const dueAt = handover.startedAt + checkTimeoutMs;
  if (turn.now < dueAt) return wake(turn, dueAt);
  // The check's end comes back as `checked`, with the reason that the shell gives.
  turn.effects.push({ kind: "end-check" });
}

/** Workers that were started ahead of a re-exec have a pid by then: an order that is given and not carried out would end with this image. */
export function executeWhenStarted(turn: Turn): void {
  const { handover, workers } = turn.state;
  if (handover?.phase !== "starting" || workers.some(({ phase }) => phase.kind === "spawning")) return;
  set(turn, { handover: { ...handover, phase: "executing" } });
}

/** Watches the canaries, and fails an upgrade whose new workers die or that takes too long. */
export function judgeUpgrade(turn: Turn): void {
  const { state, now } = turn;
  if (state.mode.kind !== "upgrading") return;
  const { upgrade } = state.mode;
  const { config } = state;
  const { current } = census(state);
  if (upgrade.deaths >= config.upgradeMaxDeaths) return failUpgrade(turn, upgrade, messages.upgradeDied(upgrade));
  // What is left then is to see that they stay.
  const isUp = upgrade.canaryPassed && current.ready >= config.number;
  if (config.upgradeTimeoutMs !== null && !upgrade.paused && !isUp) {
    const dueAt = upgrade.startedAt + config.upgradeTimeoutMs;
    if (now >= dueAt) {
      return failUpgrade(
        turn,
        upgrade,
        messages.upgradeTimedOut(upgrade, config.upgradeTimeoutMs, current.ready, config.number),
      );
    }
    wake(turn, dueAt);
  }
  if (upgrade.canary === null || upgrade.canaryPassed) return;
  const { soakMs } = upgrade.canary;
  const count = canaryCount(config, upgrade);
  if (upgrade.deaths > 0) return failUpgrade(turn, upgrade, messages.upgradeDied(upgrade));
  if (current.ready < count) return;
  if (upgrade.soakingSince === null) {
    setUpgrade(turn, { ...upgrade, soakingSince: now });
    announce(turn, upgrade, messages.canarySoaking(count, soakMs));
    return wake(turn, now + soakMs);
  }
  const dueAt = upgrade.soakingSince + soakMs;
  if (now < dueAt) return wake(turn, dueAt);
  setUpgrade(turn, { ...upgrade, canaryPassed: true });
  announce(turn, upgrade, messages.canaryPassed);
}

/** Done when the new generation is fully ready and every old worker has been told to go. */
export function completeUpgrade(turn: Turn): void {
  const { state } = turn;
  if (state.mode.kind !== "upgrading" || !state.mode.upgrade.canaryPassed) return;
  const { current, stale } = census(state);
  if (current.ready >= state.config.number && stale.serving === 0) finishUpgrade(turn, state.mode.upgrade);
}
