/** The state as others see it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { upstreamState } from "../../src/core/views.ts";
import { Pool } from "./pool.ts";

test("`state` has times of day as Ruby's YAML writes a Time, and durations in seconds", () => {
  const pool = new Pool({ number: 1 }).ackAll();
  const [pid = 0] = pool.pids("ready");
  const wallMs = Date.UTC(2026, 0, 2, 3, 4, 5, 120);
  pool.deliver({ kind: "pinged", pid, requestId: "r1" });
  pool.pass(1000).deliver({ kind: "signalled", id: 1, signal: "SIGUSR1" }).pass(500.25);
  const text = upstreamState(pool.state, pool.now, wallMs);
  assert.match(text, /^ +:last_signaled_at: 2026-01-02 03:04:04\.619000000 Z$/m);
  assert.match(text, /^ +:pinged_at: 2026-01-02 03:04:03\.619000000 Z$/m);
  assert.match(text, /^ +:spinup_time: 1\.5$/m);
});

test("`state` leaves out times of what has not been", () => {
  const pool = new Pool({ number: 1 }).ackAll();
  const text = upstreamState(pool.state, pool.now, 0);
  assert.match(text, /^ +:last_signaled_at:$/m);
  assert.match(text, /^ +:pinged_at:$/m);
});
