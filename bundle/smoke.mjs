#!/usr/bin/env node
/**
 * Loads what was built and uses it: a program is spawned and reaped, a socket listens, a signal is caught; then this process executes itself
 * anew, as the master does, and finds what it left in a memory file and the signal that hold-signals.so kept for it. Run it by the Node, and
 * on the libc, that are to be proved: `node bundle/smoke.mjs [FOLDER]` (default dist/).
 *
 * SMOKE_COMMAND: how to start this Node again, JSON, where its own path is not enough. SMOKE_EMULATED=1: qemu-user, see below.
 */
import { existsSync, readFileSync, readSync, writeSync } from "node:fs";
import { join, resolve } from "node:path";

const folder = resolve(process.argv[2] ?? join(import.meta.dirname, "../dist"));
const leftFd = process.argv[3];
const addon = join(folder, "einhorn.node");
const hold = join(folder, "hold-signals.so");
const module = { exports: {} };
process.dlopen(module, addon);
const native = module.exports;

const isEmulated = process.env.SMOKE_EMULATED === "1";
const sigusr1 = 10;
const left = "what one image leaves for the next";

function fail(what) {
  console.error(`smoke: ${folder}: ${what}`);
  process.exit(1);
}

const giveUp = setTimeout(() => fail("a signal or a child's end did not arrive"), 60_000);

/** Catches SIGUSR1 from here on; `said()` tells whether it came, `end()` lets the event loop end. */
function catchSigusr1() {
  const [read, write] = native.pipe({});
  let caught = false;
  native.onReady((fd) => {
    const buffer = Buffer.alloc(64);
    const length = native.read({ fd, buffer });
    for (let at = 0; at < length; at += 8) caught ||= buffer.readInt32LE(at) === sigusr1;
  });
  native.watch({ fd: read, events: 1 });
  native.catchSignals({ signals: [sigusr1, 17, 34, 35, 64], fd: write });
  return { said: () => caught, end: () => native.watch({ fd: read, events: 0 }) };
}

/** Asks until `isDone`, then goes on. */
function until(isDone, then) {
  const poll = setInterval(() => {
    if (!isDone()) return;
    clearInterval(poll);
    then();
  }, 5);
}

function firstImage() {
  const program = ["/bin/true", "/bin/busybox"].find(existsSync) ?? fail("there is no /bin/true to spawn");
  const pid = native.spawn({ files: [program], args: ["true"], env: [], fds: [] });
  let errno = null;
  try {
    native.spawn({ files: ["/no/such/program"], args: ["x"], env: [], fds: [] });
  } catch (error) {
    errno = error.code;
  }
  // qemu-user runs a vfork as a fork: what failed in the child is seen by its exit status only.
  if (errno !== "ENOENT" && !isEmulated) fail(`a missing program was answered with ${errno}`);

  const listener = native.socket({ family: 2, type: 1 });
  native.bind({ fd: listener, address: Uint8Array.of(2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0) });
  native.listen({ fd: listener, backlog: 5 });
  native.connect({ fd: native.socket({ family: 2, type: 1 }), address: native.getSocketName({ fd: listener }) });
  if (native.accept({ fd: listener }) < 0) fail("a connection was not accepted");

  const sigusr1Caught = catchSigusr1();
  process.kill(process.pid, sigusr1);
  native.trimMemory();

  const exits = [];
  const ours = () => exits.find((exit) => exit.pid === pid);
  until(
    () => {
      exits.push(...native.reap({ limit: 10 }).deaths);
      return sigusr1Caught.said() && ours();
    },
    () => {
      if (ours().code !== 0) fail(`${program} exited with ${ours().code ?? `signal ${ours().signal}`}`);
      executeNext();
    },
  );
}

function executeNext() {
  const state = native.memoryFile({ name: "smoke" });
  writeSync(state, left, 0);
  native.holdSignals({ signals: [sigusr1] });
  process.kill(process.pid, sigusr1);
  const command = JSON.parse(process.env.SMOKE_COMMAND ?? JSON.stringify([process.execPath]));
  const env = Object.entries({ ...process.env, LD_PRELOAD: hold }).map(([name, value]) => `${name}=${value}`);
  native.exec({ file: command[0], args: [...command, process.argv[1], folder, String(state)], env });
}

function nextImage() {
  const buffer = Buffer.alloc(left.length);
  readSync(Number(leftFd), buffer, 0, buffer.length, 0);
  if (buffer.toString() !== left) fail("the memory file of the image before cannot be read");
  if (!readFileSync("/proc/self/maps", "utf8").includes(hold)) fail("hold-signals.so was not preloaded");
  const sigusr1Caught = catchSigusr1();
  // What waits in qemu-user for its guest does not outlive an execve: there it is sent anew.
  if (isEmulated) process.kill(process.pid, sigusr1);
  native.releaseSignals();
  until(sigusr1Caught.said, () => {
    clearTimeout(giveUp);
    sigusr1Caught.end(); // and the loop must end by itself
    console.log(`smoke: ${folder} works on Node ${process.version} ${process.arch}`);
  });
}

if (leftFd === undefined) firstImage();
else nextImage();
