/** Listening UNIX sockets and their files: who gets one, who keeps it, who may use it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Bind } from "../../src/options.ts";
import { closeListeners, type Listener, openListeners } from "../../src/system/listeners.ts";
import { bind, connects, listenersModule, opened, refusal } from "./binding.ts";

const folder = mkdtempSync(join(tmpdir(), "einhorn-listen-"));
after(() => rmSync(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);
const unix = (name: string): Bind["target"] => ({ kind: "unix", path: name.startsWith("@") ? name : path(name) });

test("mode and owner are those asked for, the file goes with the listener", async () => {
  await opened(
    [bind(unix("m.sock"), { mode: 0o640, owner: { uid: 1234, gid: 2345 } })],
    async ({ address, family, port }) => {
      const { mode, uid, gid } = statSync(path("m.sock"));
      assert.deepEqual([mode & 0o7777, uid, gid], [0o640, 1234, 2345]);
      assert.deepEqual([address, family, port], [`unix:${path("m.sock")}`, "AF_UNIX", null]);
      assert.equal(await connects({ path: path("m.sock") }), true);
    },
  );
  assert.equal(existsSync(path("m.sock")), false);
  const umask = process.umask(0o027);
  await opened([bind(unix("u.sock"))], () => assert.equal(statSync(path("u.sock")).mode & 0o7777, 0o750));
  assert.equal(process.umask(umask), 0o027);
});

test("an abstract one has no file", async () => {
  const name = `@einhorn-test-${process.pid}`;
  await opened([bind(unix(name))], async ({ address, file }) => {
    assert.deepEqual([address, file], [`unix:${name}`, null]);
    assert.equal(await connects({ path: `\0${name.slice(1)}` }), true);
    assert.match(await refusal(bind(unix(name))), /EADDRINUSE/);
  });
});

test("a stale one is replaced, a live one is left alone and goes on working", async () => {
  const [stale] = await openListeners([bind(unix("s.sock"))], 5);
  closeListeners([{ ...(stale as Listener), file: null }]);
  assert.equal(existsSync(path("s.sock")), true);
  await opened([bind(unix("s.sock"))], async () => {
    assert.match(await refusal(bind(unix("s.sock"))), /another process is listening there \(EADDRINUSE\)/);
    assert.equal(await connects({ path: path("s.sock") }), true);
  });
});

test("closing leaves a file that somebody else has put there", async () => {
  const [mine] = await openListeners([bind(unix("o.sock"))], 5);
  rmSync(path("o.sock"));
  await opened([bind(unix("o.sock"))], () => {
    closeListeners([mine as Listener]);
    assert.equal(existsSync(path("o.sock")), true);
  });
});

test("of ten that start at once over one stale file, one has it", async () => {
  const [stale] = await openListeners([bind(unix("race.sock"))], 5);
  closeListeners([{ ...(stale as Listener), file: null }]);
  const script = `const { openListeners } = await import(${listenersModule});
      try { await openListeners([${JSON.stringify(bind(unix("race.sock")))}], 5); console.log("bound"); } catch { console.log("refused"); }
      process.stdin.resume();`;
  const children = Array.from({ length: 10 }, () => spawn(process.execPath, ["--input-type=module", "-e", script]));
  const answers = await Promise.all(children.map(async ({ stdout }) => String((await once(stdout, "data"))[0]).trim()));
  // Before anything is reaped by number: their exits belong to node:child_process.
  const exits = children.map((child) => once(child, "exit"));
  for (const child of children) child.kill();
  await Promise.all(exits);
  assert.deepEqual(answers.sort(), ["bound", ...new Array(9).fill("refused")]);
});

test("what is no socket is not touched, and what cannot be is explained", async () => {
  writeFileSync(path("file"), "precious");
  assert.match(await refusal(bind(unix("file"))), /there is a file that is no socket/);
  symlinkSync("/nowhere", path("link"));
  assert.match(await refusal(bind(unix("link"))), /there is a file that is no socket/);
  assert.match(await refusal(bind(unix("no/such/folder/x"))), /ENOENT.*does not exist/);
  assert.match(await refusal(bind(unix("file/x"))), /ENOTDIR/);
  assert.match(await refusal(bind(unix("x".repeat(120)))), /ENAMETOOLONG/);
});
