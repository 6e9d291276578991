import assert from "node:assert/strict";
import { test } from "node:test";
import { startLoad } from "../support/load.ts";
import { type HostConfig, startEinhorn } from "./harness.ts";

const LOCKED: Partial<HostConfig> = { ReadonlyRootfs: true, CapDrop: ["ALL"], SecurityOpt: ["no-new-privileges"] };

const cases: [string, Partial<HostConfig>][] = [
  ["a read-only root", LOCKED],
  // Without /dev/shm not one writable path is left.
  ["no writable path at all", { ...LOCKED, IpcMode: "none" }],
];

for (const [what, host] of cases) {
  test(`with ${what}, a random uid, no HOME and no capability it starts, upgrades and stops`, async () => {
    await using app = await startEinhorn({ host, user: "12345:54321", entrypoint: ["env", "-u", "HOME", "einhorn"] });
    const before = await app.identity();
    const load = startLoad({ host: app.host, port: app.port() });
    await load.served(20);
    app.release.set("v2");
    const upgrade = await app.einhornsh("upgrade");
    await load.served(20);
    const report = await load.stop();
    assert.equal(upgrade.exitCode, 0, upgrade.output);
    assert.deepEqual(report.errors, []);
    assert.match((await app.get("/")).body, /^v2 /);
    assert.equal(await app.identity(), before);
    assert.equal((await app.stop(20)).exitCode, 0, await app.logs());
  });
}
