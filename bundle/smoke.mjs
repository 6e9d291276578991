#!/usr/bin/env node
/**
 * Loads what was built and uses it: a program is spawned and reaped, a socket listens, a signal is caught. Run it by the Node, and on
 * the libc, that are to be proved: `node bundle/smoke.mjs [FOLDER]` (default dist/).
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

const folder = resolve(process.argv[2] ?? join(import.meta.dirname, "../dist"));
const addon = join(folder, "einhorn.node");
const module = { exports: {} };
process.dlopen(module, addon);
const native = module.exports;

function fail(what) {
  console.error(`smoke: ${addon}: ${what}`);
  process.exit(1);
}

const program = ["/bin/true", "/bin/busybox"].find(existsSync) ?? fail("there is no /bin/true to spawn");
const pid = native.spawn({ files: [program], args: ["true"], env: [], fds: [] });
let errno = null;
try {
  native.spawn({ files: ["/no/such/program"], args: ["x"], env: [], fds: [] });
} catch (error) {
  errno = error.code;
}
// qemu-user runs a vfork as a fork: what failed in the child is seen by its exit status only.
const isEmulated = process.env.SMOKE_EMULATED === "1";
if (errno !== "ENOENT" && !isEmulated) fail(`a missing program was answered with ${errno}`);

const listener = native.socket({ family: 2, type: 1 });
native.bind({ fd: listener, address: Uint8Array.of(2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0) });
native.listen({ fd: listener, backlog: 5 });
native.connect({ fd: native.socket({ family: 2, type: 1 }), address: native.getSocketName({ fd: listener }) });
if (native.accept({ fd: listener }) < 0) fail("a connection was not accepted");

const sigusr1 = 10;
const [read, write] = native.pipe({});
const giveUp = setTimeout(() => fail("a signal or a child's end did not arrive"), 20_000);
let caught = false;
native.onReady((fd) => {
  const buffer = Buffer.alloc(64);
  const length = native.read({ fd, buffer });
  for (let at = 0; at < length; at += 8) caught ||= buffer.readInt32LE(at) === sigusr1;
});
native.watch({ fd: read, events: 1 });
native.catchSignals({ signals: [sigusr1, 17, 34, 35, 64], fd: write });
process.kill(process.pid, sigusr1);
native.trimMemory();

const exits = [];
const poll = setInterval(() => {
  exits.push(...native.reap({ limit: 10 }).deaths);
  const ours = exits.find((exit) => exit.pid === pid);
  if (!caught || !ours) return;
  if (ours.code !== 0) fail(`${program} exited with ${ours.code ?? `signal ${ours.signal}`}`);
  clearInterval(poll);
  clearTimeout(giveUp);
  native.watch({ fd: read, events: 0 }); // and the loop must end by itself
  console.log(`smoke: ${addon} works on Node ${process.version} ${process.arch}`);
}, 5);
