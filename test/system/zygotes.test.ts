/** Orders to a zygote over a real connection, with nobody but the test at its other end. */
import assert from "node:assert/strict";
import { closeSync } from "node:fs";
import { after, test } from "node:test";
import type { Event, Launch } from "../../src/core/model.ts";
import { native } from "../../src/system/native.ts";
import type { ZygoteHost } from "../../src/system/zygote-orders.ts";
import { newPlace, type Place } from "../../src/system/zygote-place.ts";
import { Zygotes } from "../../src/system/zygotes.ts";
import { until } from "./child.ts";

const sockSeqPacket = 5;
const [ours, theirs] = native.socketPair({ type: sockSeqPacket });
after(() => {
  closeSync(ours);
  closeSync(theirs);
});
const buffer = Buffer.alloc(64 * 1024);
const heard = (): string | null => {
  const message = native.receive({ fd: theirs, buffer });
  return message === null ? null : buffer.toString("utf8", 0, message.length);
};

const launch = {} as Launch;
const delivered: Event[] = [];
const host: ZygoteHost = {
  now: () => performance.now(),
  key: () => "key",
  socketCount: () => 0,
  start: () => assert.fail("it lives already"),
  outfit: () => ({ deathSignal: 0, variables: [], fds: [], close: [], connection: null, stderr: null, captured: null }),
  execute: () => assert.fail("it can fork"),
  launchOf: () => launch,
  adopt: () => {},
  captured: () => {},
  deliver: (event) => delivered.push(event),
  changed: () => {},
  surely: (_, record) => record(),
  kill: () => assert.fail("it does its work"),
  log: () => {},
};

test("an order that found no room is sent when there is some, although no answer comes that would remind of it", async () => {
  const zygote = { pid: 1, fd: ours, places: 8, loaded: true, heardAt: 0, silent: false, end: null, lingerUntil: null };
  const place: Place = { ...newPlace(0, "key"), zygote };
  const zygotes = new Zygotes(host, [place]);
  const filler = Buffer.alloc(32 * 1024);
  while (native.send({ fd: ours, buffer: filler, fds: [] }) >= 0);
  assert.equal(zygotes.order({ id: 7, slot: 0, generation: 0, launch }), true);
  assert.equal(place.orders[0]?.sentAt, null);
  let last: string | null = null;
  await until(() => {
    const message = heard();
    if (message?.startsWith("fork")) last = message;
    return last !== null;
  });
  assert.equal(last, ["fork", "7", "0"].join("\0"));
  native.send({ fd: theirs, buffer: Buffer.from(["unborn", "7", "EAGAIN"].join("\0")), fds: [] });
  zygotes.listen();
  assert.deepEqual(delivered, [{ kind: "unspawned", id: 7, errno: "EAGAIN", syscall: "fork" }]);
});
