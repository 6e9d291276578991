/** The addon's sockets, memory files and locks against the kernel. */
import assert from "node:assert/strict";
import { closeSync, fstatSync, openSync, readFileSync, readlinkSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ipAddress, readAddress, unixAddress } from "../../src/system/addresses.ts";
import { native } from "../../src/system/native.ts";
import { failure, run, shell } from "./child.ts";

const stream = 1;
const datagram = 2;
const afUnix = 1;
const afInet = 2;
const solSocket = 1;
const loopback = (port: number): Uint8Array => (ipAddress("127.0.0.1", port) as { bytes: Uint8Array }).bytes;

function close(...fds: number[]): void {
  for (const fd of fds) closeSync(fd);
}

test("a listening socket, a connection, bytes both ways, the end", () => {
  const listener = native.socket({ family: afInet, type: stream });
  native.bind({ fd: listener, address: loopback(0) });
  native.listen({ fd: listener, backlog: 5 });
  const port = readAddress(native.getSocketName({ fd: listener }))?.port as number;
  native.setNonBlocking({ fd: listener, nonBlocking: true });
  assert.equal(native.accept({ fd: listener }), -1);
  const client = native.socket({ family: afInet, type: stream });
  native.connect({ fd: client, address: loopback(port) });
  const server = native.accept({ fd: listener });
  const buffer = Buffer.alloc(10);
  assert.equal(native.read({ fd: server, buffer }), -1);
  assert.equal(native.write({ fd: client, buffer: Buffer.from("hello") }), 5);
  assert.equal(native.poll({ fd: server, events: 3 }), 3);
  assert.equal(native.read({ fd: server, buffer }), 5);
  assert.equal(buffer.toString("utf8", 0, 5), "hello");
  close(client);
  assert.equal(native.read({ fd: server, buffer }), 0);
  close(server, listener);
});

test("failures have code, errno and syscall", () => {
  const fd = native.socket({ family: afInet, type: stream, private: true });
  const { code, errno, syscall, message } = failure(() =>
    native.bind({ fd, address: (ipAddress("192.0.2.1", 1) as { bytes: Uint8Array }).bytes }),
  );
  assert.deepEqual({ code, errno, syscall }, { code: "EADDRNOTAVAIL", errno: 99, syscall: "bind" });
  assert.match(message, /^bind EADDRNOTAVAIL: /);
  assert.equal(failure(() => native.connect({ fd, address: loopback(1) })).code, "ECONNREFUSED");
  assert.equal(failure(() => native.listen({ fd: 9999, backlog: 1 })).code, "EBADF");
  assert.equal(failure(() => native.socket({ family: 99, type: stream })).code, "EAFNOSUPPORT");
  close(fd);
});

test("socket options as numbers and as bytes", () => {
  const fd = native.socket({ family: afInet, type: stream, private: true });
  const soReuseAddr = 2;
  const soLinger = 13;
  native.setSocketOption({ fd, level: solSocket, name: soReuseAddr, value: 1 });
  assert.deepEqual([...native.getSocketOption({ fd, level: solSocket, name: soReuseAddr, length: 4 })], [1, 0, 0, 0]);
  native.setSocketOption({ fd, level: solSocket, name: soLinger, value: Uint8Array.of(1, 0, 0, 0, 9, 0, 0, 0) });
  assert.deepEqual(
    [...native.getSocketOption({ fd, level: solSocket, name: soLinger, length: 8 })],
    [1, 0, 0, 0, 9, 0, 0, 0],
  );
  close(fd);
});

test("a filter for SO_REUSEPORT is taken, an unfinished one is refused", () => {
  const fd = native.socket({ family: afInet, type: stream, private: true });
  const soReusePort = 15;
  native.setSocketOption({ fd, level: solSocket, name: soReusePort, value: 1 });
  native.bind({ fd, address: loopback(0) });
  native.listen({ fd, backlog: 1 });
  const returnZero = Uint8Array.of(0x06, 0, 0, 0, 0, 0, 0, 0); // BPF_RET | BPF_K
  native.attachReuseportFilter({ fd, program: returnZero });
  assert.equal(
    failure(() => native.attachReuseportFilter({ fd, program: Uint8Array.of(0x07, 0, 0, 0, 0, 0, 0, 0) })).code,
    "EINVAL",
  );
  close(fd);
});

test("a message has its sender's credentials and descriptors", async () => {
  const soPassCred = 16;
  const [a, b] = native.socketPair({ type: datagram });
  const buffer = Buffer.alloc(100);
  assert.equal(native.receive({ fd: a, buffer }), null);
  native.setSocketOption({ fd: a, level: solSocket, name: soPassCred, value: 1 });
  const file = native.memoryFile({ name: "passed" });
  writeSync(file, "content");
  assert.equal(native.send({ fd: b, buffer: Buffer.from("READY=1"), fds: [file, 0] }), 7);
  const got = native.receive({ fd: a, buffer });
  assert.ok(got);
  assert.deepEqual(
    { ...got, fds: got.fds.length },
    { length: 7, pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.(), fds: 2 },
  );
  const [passed = -1, stdin = -1] = got.fds;
  assert.equal(fstatSync(passed).ino, fstatSync(file).ino);
  assert.equal(native.isInheritable({ fd: passed }), true);
  // From another process: its pid, and no descriptors.
  const { pid } = await run({ ...shell("printf hi >&3"), fds: [b] });
  assert.deepEqual(native.receive({ fd: a, buffer }), { length: 2, pid, uid: 0, gid: 0, fds: [] });
  close(a, b, file, passed, stdin);
});

test("a full socket answers -1 for EAGAIN", () => {
  const [a, b] = native.socketPair({ type: stream, private: true });
  const buffer = Buffer.alloc(65536);
  let written = 0;
  while (written >= 0) written = native.write({ fd: a, buffer });
  assert.equal(native.send({ fd: a, buffer, fds: [] }), -1);
  assert.equal(native.poll({ fd: a, events: 2 }), 0);
  close(b);
  assert.equal(failure(() => native.send({ fd: a, buffer, fds: [] })).code, "EPIPE");
  close(a);
});

test("abstract and file addresses of UNIX sockets are read back as they were written", () => {
  for (const path of [`@einhorn-${process.pid}`, join(tmpdir(), `einhorn-${process.pid}.sock`)]) {
    const fd = native.socket({ family: afUnix, type: stream, private: true });
    native.bind({ fd, address: unixAddress(path) });
    assert.equal(readAddress(native.getSocketName({ fd }))?.text, `unix:${path}`);
    close(fd);
    if (!path.startsWith("@")) rmSync(path);
  }
});

test("descriptors are inheritable unless private, and that can be changed", () => {
  const open = [false, true].flatMap((secret) => [
    { fd: native.socket({ family: afUnix, type: stream, private: secret }), secret },
    ...native.socketPair({ type: stream, private: secret }).map((fd) => ({ fd, secret })),
    { fd: native.memoryFile({ name: "x", private: secret }), secret },
  ]);
  for (const { fd, secret } of open) {
    assert.equal(native.isInheritable({ fd }), !secret);
    native.setInheritable({ fd, inheritable: secret });
    assert.equal(native.isInheritable({ fd }), secret);
    close(fd);
  }
});

test("a memory file holds what was written, under its name", () => {
  const fd = native.memoryFile({ name: "einhorn-state" });
  writeSync(fd, "state");
  const bytes = Buffer.alloc(5);
  readSync(fd, bytes, 0, 5, 0);
  assert.equal(bytes.toString(), "state");
  assert.match(readlinkSync(`/proc/self/fd/${fd}`), /^\/memfd:einhorn-state/);
  close(fd);
});

test("a lock is for one open file, not for its copies", async () => {
  const path = join(tmpdir(), `einhorn-lock-${process.pid}`);
  const fd = openSync(path, "w");
  const other = openSync(path, "r");
  assert.equal(native.lock({ fd }), true);
  assert.equal(native.lock({ fd }), true);
  assert.equal(native.lock({ fd: other }), false);
  const { exit } = await run({ ...shell("flock -n 3 && ! flock -n 4"), fds: [fd, other] });
  assert.equal(exit.code, 0);
  close(fd);
  assert.equal(native.lock({ fd: other }), true);
  close(other);
  rmSync(path);
});

test("limits, priority and terminals are told as they are", async () => {
  const { output } = await run(shell("ulimit -Sn; ulimit -Hn"));
  const { soft, hard } = native.getResourceLimit({ resource: 7 });
  assert.equal(output, `${soft}\n${hard}\n`);
  assert.equal(native.isTerminal({ fd: openSync("/dev/null", "r") }), false);
  const pid = native.spawn(shell("exec sleep 1000"));
  native.setPriority({ pid, nice: 7 });
  assert.equal(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[16], "7");
  process.kill(pid, "SIGKILL");
  assert.equal(failure(() => native.setPriority({ pid: 2 ** 22 + 1, nice: 1 })).code, "ESRCH");
});

test("trimmed memory comes back when it is needed", () => {
  const resident = (): number => Number(readFileSync("/proc/self/statm", "utf8").split(" ")[1]);
  const before = resident();
  native.trimMemory();
  assert.ok(resident() < before);
  assert.equal(JSON.stringify(JSON.parse('{"a":[1,2,3]}')), '{"a":[1,2,3]}');
});

test("what nothing holds any more is collected when it is asked for, and nobody is told of memory that is not there", async () => {
  const garbage = new WeakRef({ much: "x".repeat(1000) });
  // What a WeakRef was asked for or made of lives to the end of that turn.
  await new Promise((resolve) => setTimeout(resolve, 1));
  const { external } = process.memoryUsage();
  native.collectGarbage();
  assert.equal(garbage.deref(), undefined);
  assert.ok(process.memoryUsage().external <= external + 1e6);
});
