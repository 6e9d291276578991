/** What `npm start` shows: four copies of the server on one port, an upgrade from another terminal, Ctrl-C. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net, { type AddressInfo } from "node:net";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { get, root, run } from "../support/master.ts";
import { killMarked, MARK } from "../support/processes.ts";
import { underLoad } from "../support/under-load.ts";
import { temporary } from "./example.ts";

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

test("the demo serves, is upgraded with what it prints and README.md says, and ends on Ctrl-C", async (t) => {
  const port = await freePort();
  const TMPDIR = temporary(t);
  const demo = spawn("node", ["examples/node-http/demo.mjs"], {
    cwd: root,
    // A group of its own, as a terminal gives it: Ctrl-C goes to all of it.
    detached: true,
    env: { ...process.env, PORT: String(port), TMPDIR, [MARK]: TMPDIR },
  });
  t.after(() => killMarked(TMPDIR));
  let output = "";
  for (const stream of [demo.stdout, demo.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const exited = once(demo, "exit");

  while (!/All 4 workers are ready/.test(output)) {
    assert.equal(demo.exitCode, null, output);
    await sleep(20);
  }
  assert.match(await get(port), /^node generation=0 /);
  const load = underLoad(t, { port });
  const [command = "", words = ""] = /node dist\/einhornsh\.cjs (.* upgrade)/.exec(output) ?? [];
  assert.ok(
    fs.readFileSync(path.join(root, "README.md"), "utf8").includes(`\`${command}\``),
    `README.md has no ${command}`,
  );
  const upgrade = await run("einhornsh", words.split(" "), { env: { TMPDIR } });
  assert.equal(upgrade.code, 0, upgrade.stderr);
  await load.served(20);
  assert.deepEqual((await load.stop()).errors, []);

  process.kill(-(demo.pid as number), "SIGINT");
  const [code] = await exited;
  assert.equal(code, 0, output);
  assert.deepEqual(
    fs.readdirSync(TMPDIR).filter((name) => name.endsWith(".sock")),
    [],
    "no socket is left",
  );
});

test("a port that is taken is said in one message", async (t) => {
  const holder = net.createServer().listen(0, "127.0.0.1");
  await once(holder, "listening");
  t.after(() => holder.close());
  const { port } = holder.address() as AddressInfo;
  const env = { ...process.env, PORT: String(port), TMPDIR: temporary(t) };
  const demo = spawn("node", [path.join(root, "examples/node-http/demo.mjs")], { env });
  let stderr = "";
  demo.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  const [code] = await once(demo, "exit");
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${port}.*EADDRINUSE`));
});
