import assert from "node:assert/strict";
import { test } from "node:test";
import { startLoad } from "../support/load.ts";
import { type HostConfig, startEinhorn } from "./harness.ts";

const LOCKED: Partial<HostConfig> = { ReadonlyRootfs: true, CapDrop: ["ALL"], SecurityOpt: ["no-new-privileges"] };

// Without /dev/shm not one writable path is left.
const NOTHING_WRITABLE: Partial<HostConfig> = { ...LOCKED, IpcMode: "none" };

const worker = ["node", "/app/server.mjs"];
const cases: [string, Partial<HostConfig>, string, readonly string[]][] = [
  ["a read-only root", LOCKED, "product:24", worker],
  ["no writable path at all", NOTHING_WRITABLE, "product:24", worker],
  ["no writable path at all, as a single executable", NOTHING_WRITABLE, "recipe:single", ["python3", "server.py"]],
];

for (const [what, host, image, program] of cases) {
  test(`with ${what}, a random uid, no HOME and no capability it starts, upgrades and stops`, async () => {
    await using app = await startEinhorn({
      image,
      host,
      user: "12345:54321",
      entrypoint: ["env", "-u", "HOME", "einhorn"],
      program,
      ...(image.startsWith("recipe:") && { mounts: [] }),
    });
    const before = await app.identity();
    const load = startLoad({ host: app.host, port: app.port() });
    await load.served(20);
    app.release.set("v2");
    const upgrade = await app.einhornsh("upgrade");
    await load.served(20);
    const report = await load.stop();
    assert.equal(upgrade.exitCode, 0, upgrade.output);
    assert.deepEqual(report.errors, []);
    await app.untilOnlyGeneration(1);
    // Every body names the pid or the version of who served it.
    assert.notEqual((await app.get("/")).body, [...report.bodies.keys()][0]);
    assert.equal(await app.identity(), before);
    assert.equal((await app.stop(20)).exitCode, 0, await app.logs());
  });
}

test("the single executable runs where there is no Node", async () => {
  await using app = await startEinhorn({ image: "recipe:single", command: [], mounts: [] });
  assert.notEqual((await app.exec(["sh", "-c", "command -v node"])).exitCode, 0);
  assert.match((await app.exec(["readlink", "/proc/1/exe"])).output, /^\/usr\/local\/lib\/einhorn\/einhorn\s*$/);
});
