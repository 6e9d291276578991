/** Which SIGKILLs count as the kernel's for want of memory. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { claimableMs, OomCount } from "../../src/system/oom-count.ts";

function counter(first: number | null): { oom: OomCount; set(kills: number | null): void } {
  let kills = first;
  return {
    oom: new OomCount(() => kills),
    set(next) {
      kills = next;
    },
  };
}

test("as many as the kernel counted, also when they are reaped in one drain", () => {
  const { oom, set } = counter(5);
  set(7);
  assert.deepEqual([oom.claim(0), oom.claim(0), oom.claim(0)], [true, true, false]);
});

test("one that is reaped a moment after the others", () => {
  const { oom, set } = counter(0);
  set(2);
  assert.equal(oom.claim(0), true);
  assert.equal(oom.claim(claimableMs), true);
});

test("not one long after: what the kernel killed then was somebody else", () => {
  const { oom, set } = counter(0);
  set(2);
  assert.equal(oom.claim(0), true);
  assert.equal(oom.claim(claimableMs + 1), false);
});

test("none without a counter", () => {
  const { oom } = counter(null);
  assert.equal(oom.claim(0), false);
});
