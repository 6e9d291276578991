/** The real core and supervisor in made-up worlds: crashes of the master, bad releases, deaf workers, commands at any moment. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { firstFailure, realCode } from "./simulate.ts";

const seeds = 3_000;

test(`${seeds} seeds pass; one that fails is replayed with npm run simulate -- SEED`, () => {
  assert.equal(firstFailure(realCode, 1, seeds), null);
});
