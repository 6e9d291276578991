/** Runs an example as its README says, from Debian's packages, under load through upgrades and a stop. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";
import { type Master, root, startMaster } from "../support/master.ts";
import { underLoad } from "../support/under-load.ts";

export interface Example {
  /** Of the README's command: what stands before `--`, without -b and -n. */
  readonly options: readonly string[];
  /** Options of the bind, such as "defer_accept=1". */
  readonly bind?: string;
  /** Relative to the example's folder. */
  readonly program: readonly string[];
  readonly upgrades?: number;
  /** Share of requests that may fail, for servers that cannot do better; their README shows the measurement. */
  readonly mayLose?: number;
}

export const folder = (name: string): string => path.join(root, "examples", name);

/** A directory of the test's own, removed when it ends. */
export function temporary(t: TestContext): string {
  const directory = fs.mkdtempSync("/tmp/einhorn-example-");
  fs.chmodSync(directory, 0o755);
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export async function start(t: TestContext, name: string, { options, bind, program }: Example): Promise<Master> {
  const address = ["127.0.0.1:0", ...(bind ? [bind] : [])].join(",");
  return startMaster(t, {
    // -s is also how long a release must stand before old workers go: no 0.75 s for each of many upgrades.
    args: ["-n", "2", "-s", "0.1", "-b", address, ...options],
    program,
    cwd: folder(name),
    // A machine's other Pythons and Rubies do not have Debian's packages.
    env: { PATH: `/usr/sbin:/usr/bin:/sbin:/bin:${path.dirname(execFileSync("which", ["node"]).toString().trim())}` },
  });
}

/** Upgrades under a load of new and of kept connections, then stops; every answer says which generation gave it. */
export async function upgradesUnderLoad(t: TestContext, name: string, example: Example): Promise<void> {
  const master = await start(t, name, example);
  const port = await master.port();
  const fresh = underLoad(t, { port, concurrency: 3 });
  const kept = underLoad(t, { port, concurrency: 3, keepAlive: true });
  await Promise.all([fresh.served(10), kept.served(10)]);
  const upgrades = example.upgrades ?? 20;
  for (let upgrade = 1; upgrade <= upgrades; upgrade += 1) {
    const reply = await master.ask(upgrade % 4 === 0 ? "upgrade_fleet" : "upgrade");
    assert.equal(reply.error ?? false, false, reply.message);
    await fresh.served(2);
  }
  const { recentDeaths } = await master.onlyGeneration(upgrades);
  await Promise.all([fresh.served(10), kept.served(10)]);
  for (const load of [fresh, kept]) {
    const report = await load.stop();
    const total = report.ok + report.failed;
    t.diagnostic(`${load === fresh ? "new" : "kept"} connections: ${report.failed} of ${total} requests failed`);
    // What is lost is lost at stops, two of them an upgrade, however many requests the machine makes between them.
    const allowed = example.mayLose === undefined ? 0 : Math.max(Math.floor(example.mayLose * total), 2 * upgrades);
    assert.ok(report.failed <= allowed, `${report.failed} of ${total} requests failed: ${report.errors.join("; ")}`);
    const generations = new Set([...report.bodies.keys()].map((body) => /generation=(\d+)/.exec(body)?.[1]));
    assert.ok(generations.has("0") && generations.has(String(upgrades)), `saw ${[...generations]}`);
  }
  assert.deepEqual(
    recentDeaths.filter((death) => !death.expected).map((death) => death.text),
    [],
  );
  const ended = await master.stop();
  assert.deepEqual([ended.code, ended.signal], [0, null]);
}
