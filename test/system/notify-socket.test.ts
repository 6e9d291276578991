import assert from "node:assert/strict";
import { closeSync, readdirSync } from "node:fs";
import { describe, test } from "node:test";
import { unixAddress } from "../../src/system/addresses.ts";
import { native } from "../../src/system/native.ts";
import {
  closeNotifySocket,
  type Notice,
  noticeBytesMax,
  openNotifySocket,
  readNotice,
  watchNotices,
} from "../../src/system/notify-socket.ts";

describe("what a datagram says", () => {
  for (const [text, notice] of [
    ["READY=1", { ready: true }],
    ["STATUS=loading\nREADY=1\n", { ready: true, status: "loading" }],
    ["STATUS=a=b", { status: "a=b" }],
    ["STATUS=one\nSTATUS=two", { status: "two" }],
    ["STATUS=\u001b[31mred\u0007", { status: " [31mred " }],
    ["STOPPING=1\nWATCHDOG=1", { stopping: true, watchdog: true }],
    ["EXTEND_TIMEOUT_USEC=1500000", { extendMs: 1500 }],
    ["EXTEND_TIMEOUT_USEC=99999999999999999999", { extendMs: 86_400_000 }],
    ["EXTEND_TIMEOUT_USEC=-1\nEXTEND_TIMEOUT_USEC=1e9\nEXTEND_TIMEOUT_USEC=", {}],
    ["READY=0\nSTOPPING=yes\nWATCHDOG=trigger", {}],
    ["RELOADING=1\nMAINPID=1\nFDSTORE=1\nERRNO=2\nX_OWN=1", {}],
    ["READY\n=1\n\n=\nnonsense", {}],
    ["", {}],
  ] as const) {
    test(JSON.stringify(text), () => assert.deepEqual(readNotice(text), notice));
  }

  test("a status is cut to what fits a line", () => {
    assert.equal(readNotice(`STATUS=${"x".repeat(4000)}`).status?.length, 500);
  });
});

/** Sends datagrams and resolves when all have been taken, with what came of them. */
async function exchange(
  texts: readonly string[],
  workerOf: (pid: number) => number | null,
): Promise<{ notices: [number, Notice][]; refused: { pid: number; others: number }[] }> {
  const socket = openNotifySocket();
  const notices: [number, Notice][] = [];
  const refused: { pid: number; others: number }[] = [];
  let taken = 0;
  try {
    await new Promise<void>((resolve) => {
      const count = () => {
        taken += 1;
        if (taken === texts.length + 1) resolve();
      };
      watchNotices(socket, {
        workerOf: (pid) => {
          setImmediate(count);
          return workerOf(pid);
        },
        notice: (worker, notice) => notices.push([worker, notice]),
        refused: ({ pid, others }) => refused.push({ pid, others }),
      });
      const fd = native.socket({ family: 1, type: 2, private: true });
      native.connect({ fd, address: unixAddress(socket.name) });
      const nothing = native.memoryFile({ name: "passed", private: true });
      for (const text of [...texts, "end"]) {
        // What is too long is not worth asking who it is from.
        if (text.length > noticeBytesMax) count();
        native.send({ fd, buffer: Buffer.from(text), fds: [nothing] });
      }
      closeSync(nothing);
      closeSync(fd);
    });
  } finally {
    closeNotifySocket(socket);
  }
  return { notices, refused };
}

test("messages come with the sender that the kernel names; descriptors that come along are closed", async () => {
  const before = readdirSync("/proc/self/fd").length;
  const { notices, refused } = await exchange(["READY=1", "STATUS=x"], (pid) => (pid === process.pid ? 7 : null));
  assert.deepEqual(notices, [
    [7, { ready: true }],
    [7, { status: "x" }],
    [7, {}],
  ]);
  assert.deepEqual(refused, []);
  assert.ok(readdirSync("/proc/self/fd").length <= before + 2, "only the reactor's own are new");
});

test("strangers and what is too long are dropped, and reported once", async () => {
  const long = `READY=1\n${"x".repeat(noticeBytesMax)}`;
  const { notices, refused } = await exchange(["READY=1", long, "READY=1"], () => null);
  assert.deepEqual(notices, []);
  assert.deepEqual(refused, [{ pid: process.pid, others: 0 }]);
});

test("the name is of the abstract namespace, and another for each", () => {
  const [first, second] = [openNotifySocket(), openNotifySocket()];
  assert.match(first.name, /^@einhorn\/\d+-[a-z0-9]+$/);
  assert.notEqual(first.name, second.name);
  closeNotifySocket(first);
  closeNotifySocket(second);
});
