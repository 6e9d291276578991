/**
 * The real core, supervisor and journal in made-up worlds: crashes of the master, system calls that fail, bad releases, deaf
 * workers, hostile clients, commands at any moment.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { firstFailure, firstFailureKilled, realCode } from "./simulate.ts";
import { Tally } from "./tally.ts";

const seeds = 3_000;
const seedsKilled = 12;

/** None of it may be missing from the mix. */
const kinds = [
  "event asked, event acked, event checked, event childless, event crashed, event exited, event hung-up, event notified",
  "event orphans-reaped, event pinged, event preloaded, event reexeced, event signal, event signalled, event spawned, event unspawned",
  "fault vfork EAGAIN, fault vfork ENOMEM, fault pipe2 EMFILE, fault execve ENOENT, fault execve of the next image, fault measure",
  "fault check cannot start, fault check fails, fault check hangs, fault kill: it is gone, worker killed, out of memory",
  "hostile ACK, hostile command, hostile flood, hostile hang-up within an answer, hostile nonsense, worker stops by itself",
  "re-exec waits for starts",
];

test(`${seeds} seeds pass; one that fails is replayed with npm run simulate -- SEED`, () => {
  const tally = new Tally();
  assert.equal(firstFailure(realCode, 1, seeds, tally), null);
  const expected = kinds.flatMap((line) => line.split(/, (?=event|fault|hostile|worker)/));
  const rare = expected.filter((kind) => (tally.counts.get(kind) ?? 0) < 50);
  assert.deepEqual(rare, [], `too rare in the mix: ${tally}`);
});

test(`${seedsKilled} seeds pass with kill -9 at every place where the master can end`, () => {
  const tally = new Tally();
  assert.equal(firstFailureKilled(realCode, 1, seedsKilled, tally), null);
  assert.ok((tally.counts.get("crash") ?? 0) > 1000, `too few kills: ${tally}`);
});
