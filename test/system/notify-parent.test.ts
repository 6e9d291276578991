import assert from "node:assert/strict";
import { closeSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { native } from "../../src/system/native.ts";
import { type Announcement, notifyParent } from "../../src/system/notify-parent.ts";

const directory = mkdtempSync(join(tmpdir(), "einhorn-notify-"));
test.after(() => rmSync(directory, { recursive: true }));
const path = join(directory, "notify.sock");

/** A service manager's end of NOTIFY_SOCKET; `name` as in sockaddr_un. */
function manager(name: string): number {
  const fd = native.socket({ family: 1, type: 2 });
  const address = Buffer.concat([new Uint8Array(new Uint16Array([1]).buffer), Buffer.from(name)]);
  native.bind({ fd, address });
  native.setNonBlocking({ fd, nonBlocking: true });
  return fd;
}

function receive(fd: number): string {
  const buffer = new Uint8Array(1000);
  return Buffer.from(buffer.subarray(0, native.read({ fd, buffer }))).toString();
}

const silent = (message: string) => assert.fail(message);

test("each state is one datagram, to a path or an abstract name", () => {
  const abstract = `einhorn-test-${process.pid}`;
  for (const [name, notifySocket] of [
    [`${path}\0`, path],
    [`\0${abstract}`, `@${abstract}`],
  ] as const) {
    const fd = manager(name);
    const sent: Announcement[] = ["READY=1", "RELOADING=1", "STOPPING=1"];
    for (const state of sent) notifyParent(native, notifySocket, state, 1234.5678, silent);
    assert.equal(receive(fd), "READY=1");
    assert.equal(receive(fd), "RELOADING=1\nMONOTONIC_USEC=1234568");
    assert.equal(receive(fd), "STOPPING=1");
    closeSync(fd);
  }
});

test("a manager that is gone, was never there or does not read is told to the debug log only", () => {
  const before = readdirSync("/proc/self/fd").length;
  const said: string[] = [];
  const notify = (socket: string) => notifyParent(native, socket, "READY=1", 0, (message) => said.push(message));
  notify(path);
  notify("/nonexistent/notify");
  notify("");
  notify(`/${"x".repeat(500)}`);
  assert.equal(said.length, 4);
  assert.match(said[0] ?? "", /^NOTIFY_SOCKET .*notify\.sock cannot be told READY=1: .*ECONNREFUSED/);
  rmSync(path);
  const fd = manager(`${path}\0`);
  while (said.length === 4) notify(path);
  assert.equal(said[4], `NOTIFY_SOCKET ${path} is full; READY=1 is lost`);
  closeSync(fd);
  assert.equal(readdirSync("/proc/self/fd").length, before, "nothing is left open");
});
