/**
 * Does the simulator see? The core is broken on purpose, one rule at a time, in a copy; each break must make a seed fail.
 * One that survives is a rule that nothing checks.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { firstFailure } from "./simulate.ts";
import type { Code } from "./world.ts";

const source = path.resolve(import.meta.dirname, "../../src");
const seedsMax = 1_500;

interface Mutation {
  name: string;
  file: string;
  from: string;
  to: string;
}

const mutations: readonly Mutation[] = [
  { name: "a dead worker is not replaced", file: "core/reconcile.ts", from: "  spawnMissing,\n", to: "" },
  {
    name: "an upgrade retires old workers too early",
    file: "core/reconcile.ts",
    from: "settled + stale.ready - state.config.number)",
    to: "settled + stale.ready - state.config.number + 1)",
  },
  {
    name: "an upgrade retires old workers for a release that has not proved itself",
    file: "core/reconcile.ts",
    from: "const held = !isProven || ",
    to: "const held = ",
  },
  {
    name: "a new worker that dies after its ACK speaks for its release",
    file: "core/life.ts",
    from: "return now - phase.since <= Math.max(settleMsMax, state.config.respawnMs);",
    to: "return false;",
  },
  { name: "too many workers stay", file: "core/reconcile.ts", from: "  retireExcess,\n", to: "" },
  { name: "an upgrade never ends", file: "core/reconcile.ts", from: "  completeUpgrade,\n", to: "" },
  { name: "a stop does not tell the workers", file: "core/reconcile.ts", from: "  tellAll,\n", to: "" },
  {
    name: "nobody is killed at the end of the grace period",
    file: "core/reconcile.ts",
    from: "  killOverdue,\n",
    to: "",
  },
  { name: "the master does not exit when all are gone", file: "core/reconcile.ts", from: "  exitWhenEmpty,\n", to: "" },
  {
    name: "backoff is forgotten",
    file: "core/life.ts",
    from: "state.config.respawnMs * backoffFactor ** deaths",
    to: "0",
  },
  {
    name: "the alarm for ACKs by time is not set",
    file: "core/rules/acks.ts",
    from: "    else wake(turn, dueAt);\n",
    to: "",
  },
  {
    name: "an ACK by time comes too early",
    file: "core/rules/acks.ts",
    from: "if (turn.now >= dueAt) becomeReady(turn, worker);",
    to: "if (turn.now >= dueAt - 500) becomeReady(turn, worker);",
  },
  {
    name: "two workers get one slot",
    file: "core/roster.ts",
    from: "  while (count.slots.has(slot)) slot += 1;\n",
    to: "",
  },
  {
    name: "the index does not go on with its list",
    file: "core/roster.ts",
    from: "    leave(index, workers[at] as Worker);\n",
    to: "",
  },
  {
    name: "the limit on starting workers is off by one",
    file: "core/reconcile.ts",
    from: "unackedLimit - count.current.unacked)",
    to: "unackedLimit + 1 - count.current.unacked)",
  },
  {
    name: "a death is not recorded",
    file: "core/life.ts",
    from: "workers: without(state.workers, worker),\n    counters: counted",
    to: "counters: counted",
  },
  { name: "who waits is not answered", file: "core/reconcile.ts", from: "  noticeReady,\n", to: "" },
  {
    name: "an upgrade forgets who asked for it",
    file: "core/upgrade.ts",
    from: "askers: [...(earlier?.askers ?? []), ...askers]",
    to: "askers: []",
  },
  {
    name: "a failed check is not told",
    file: "core/record.ts",
    from: "  for (const asker of handover.askers) refuse(turn, asker, message);\n",
    to: "",
  },
  {
    name: "workers found after a crash are ignored",
    file: "core/crash.ts",
    from: "  for (const found of event.found) adopt(turn, found);\n",
    to: "",
  },
  {
    name: "workers lost in a crash stay in the table",
    file: "core/crash.ts",
    from: "if (worker !== undefined) bury(",
    to: "if (worker === undefined) bury(",
  },
  {
    name: "a re-exec that waited for starts never comes",
    file: "core/rules/upgrading.ts",
    from: '  set(turn, { handover: { ...handover, phase: "executing" } });\n',
    to: "",
  },
  {
    name: "a check that a crash cut off is not run again",
    file: "core/crash.ts",
    from: '  turn.effects.push({ kind: "check" });\n',
    to: "",
  },
  {
    name: "a part that is gone stays in the file",
    file: "core/changes.ts",
    from: "  for (; index < beforeEnd; index += 1)",
    to: "  for (; index < same; index += 1)",
  },
  {
    name: "an ACK is not written down before it is handled",
    file: "keeping.ts",
    from: "      this.#pending.set(name, event);\n      write();\n",
    to: "",
  },
  {
    name: "what was handled is heard again after a crash",
    file: "keeping.ts",
    from: "    if (this.#forgetHandled()) write();\n",
    to: "",
  },
  {
    name: "a changed worker is not written",
    file: "core/changes.ts",
    from: "if (other !== worker) changes",
    to: "if (other?.id !== worker.id) changes",
  },
];

async function codeWith(mutation: Mutation): Promise<Code> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "einhorn-mutation-"));
  try {
    fs.cpSync(path.join(source, "core"), path.join(folder, "core"), { recursive: true });
    for (const file of ["supervisor.ts", "ports.ts", "keeping.ts", "system/journal.ts", "system/capture-state.ts"])
      fs.cpSync(path.join(source, file), path.join(folder, file));
    const file = path.join(folder, mutation.file);
    const text = fs.readFileSync(file, "utf8");
    assert.ok(text.includes(mutation.from), `${mutation.file} has no ${JSON.stringify(mutation.from)} any more`);
    fs.writeFileSync(
      file,
      text.replace(mutation.from, () => mutation.to),
    );
    const load = (name: string) => import(pathToFileURL(path.join(folder, name)).href);
    const parts = ["supervisor.ts", "keeping.ts", "system/journal.ts"];
    parts.push(...["initial", "handover", "commands"].map((name) => `core/${name}.ts`));
    return Object.assign({}, ...(await Promise.all(parts.map(load)))) as Code;
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

test("not seen: a copy that is not broken", async () => {
  const whole = { name: "nothing", file: "core/step.ts", from: "", to: "" };
  assert.equal(firstFailure(await codeWith(whole), 1, 200), null);
});

for (const mutation of mutations) {
  test(`seen: ${mutation.name}`, async () => {
    const code = await codeWith(mutation);
    assert.notEqual(firstFailure(code, 1, seedsMax), null, `${seedsMax} seeds pass although ${mutation.name}`);
  });
}
