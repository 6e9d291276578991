/** One epoll set for all: readiness, forgetting, and what keeps the event loop alive. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { native } from "../../src/system/native.ts";
import { type Readiness, unwatch, watch } from "../../src/system/reactor.ts";
import { failure, until } from "./child.ts";

const buffer = Buffer.alloc(100);
const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

function pair(): { a: number; b: number; done(): void } {
  const [a, b] = native.socketPair({ type: 1, private: true });
  return {
    a,
    b,
    done() {
      unwatch(a);
      for (const fd of [a, b]) closeSync(fd);
    },
  };
}

test("readable is told for as long as it is so, then no more", async () => {
  const { a, b, done } = pair();
  let calls = 0;
  watch(a, { readable: true }, (ready) => {
    assert.deepEqual(ready, { readable: true, writable: false });
    calls++;
    if (calls === 3) native.read({ fd: a, buffer });
  });
  native.write({ fd: b, buffer: Buffer.from("x") });
  await until(() => calls === 3);
  await turn();
  assert.equal(calls, 3);
  done();
});

test("watching again replaces what is wanted and who is told", async () => {
  const { a, b, done } = pair();
  const seen: Readiness[] = [];
  watch(a, { readable: true }, () => assert.fail("replaced"));
  watch(a, { readable: true, writable: true }, (ready) => seen.push(ready));
  await until(() => seen.length > 0);
  assert.deepEqual(seen[0], { readable: false, writable: true });
  native.write({ fd: b, buffer: Buffer.from("x") });
  await until(() => seen.some(({ readable, writable }) => readable && writable));
  done();
});

test("a hang-up is readable, and reads as the end", async () => {
  const [a, b] = native.socketPair({ type: 1, private: true });
  const ended = new Promise<number>((resolve) =>
    watch(a, { readable: true }, () => resolve(native.read({ fd: a, buffer }))),
  );
  closeSync(b);
  assert.equal(await ended, 0);
  unwatch(a);
  closeSync(a);
});

test("what an earlier callback of the same round unwatched is not called", async () => {
  const one = pair();
  const two = pair();
  const called: number[] = [];
  for (const { a } of [one, two]) {
    watch(a, { readable: true }, () => {
      called.push(a);
      for (const { a } of [one, two]) unwatch(a);
    });
  }
  for (const { b } of [one, two]) native.write({ fd: b, buffer: Buffer.from("x") });
  await until(() => called.length > 0);
  await turn();
  assert.equal(called.length, 1);
  one.done();
  two.done();
});

test("more descriptors than one round takes all get their turn, and numbers are used again", async () => {
  for (let round = 0; round < 2; round++) {
    const pairs = Array.from({ length: 200 }, pair);
    const called = new Set<number>();
    for (const { a } of pairs) {
      watch(a, { readable: true }, () => {
        called.add(a);
        native.read({ fd: a, buffer });
      });
    }
    for (const { b } of pairs) native.write({ fd: b, buffer: Buffer.from("x") });
    await until(() => called.size === pairs.length);
    // Closed first, unwatched afterwards: an order that must do no harm.
    for (const { a, b } of pairs) {
      closeSync(a);
      closeSync(b);
      unwatch(a);
    }
  }
});

test("regular files cannot be watched, and forgetting what was not watched is nothing", () => {
  const fd = openSync("/etc/passwd", "r");
  assert.equal(failure(() => watch(fd, { readable: true }, () => {})).code, "EPERM");
  unwatch(fd);
  closeSync(fd);
  assert.equal(failure(() => watch(9999, { readable: true }, () => {})).code, "EBADF");
  unwatch(9999);
});

const fixture = (kind: string) => {
  const file = join(import.meta.dirname, "fixtures/watches.ts");
  return spawnSync(process.execPath, [file, kind], { encoding: "utf8", timeout: 60_000 });
};

test("the loop ends when nothing is watched any more", () => {
  assert.deepEqual([fixture("watches-nothing").stdout, fixture("watches-nothing").status], ["exit\n", 0]);
  assert.deepEqual([fixture("unwatches-later").stdout, fixture("unwatches-later").status], ["ready\nexit\n", 0]);
});

test("an error in a callback is an uncaughtException, and the next descriptor has its turn", () => {
  const caught = fixture("catches");
  assert.equal(caught.stdout.split("\n").sort().join("\n"), "\nexit\nfrom a\nfrom c");
  const uncaught = fixture("does-not-catch");
  assert.equal(uncaught.status, 1);
  assert.match(uncaught.stderr, /Error: from [ac]/);
});
