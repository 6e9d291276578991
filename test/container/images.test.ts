import assert from "node:assert/strict";
import { test } from "node:test";
import { startLoad } from "../support/load.ts";
import { PLAIN, startEinhorn } from "./harness.ts";

const products: [string, string][] = [
  ["Node 20", "product:20"],
  ["Node 22", "product:22"],
  ["Node 24", "product:24"],
  ["Node 26", "product:26"],
  ["a musl Node", "product:musl"],
  ["arm64, under qemu", "product:arm64"],
  ["an image that Node and einhorn were copied into", "copied"],
];
const recipes: [string, string][] = ["node", "python", "ruby", "go", "go-musl", "single"].map((language) => [
  `docker/recipes for ${language}`,
  `recipe:${language}`,
]);

for (const [what, name] of [...products, ...recipes]) {
  test(`${what}: it serves, upgrades and stops`, async () => {
    const settings = name.startsWith("recipe:")
      ? { command: [], mounts: [] }
      : // One worker where each start takes seconds.
        { options: ["-n", name === "product:arm64" ? "1" : "2", ...PLAIN.slice(2)] };
    await using app = await startEinhorn({ image: name, ...settings });
    const before = await app.identity();
    const load = startLoad({ host: app.host, port: app.port(), concurrency: 1, pauseMs: 10 });
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
    // What V8 says of a flag that it does not know.
    assert.doesNotMatch(await app.logs(), /unrecognized flag/);
    assert.equal((await app.stop(20)).exitCode, 0, await app.logs());
  });
}

test("the image runs as a user that is not root", async () => {
  await using app = await startEinhorn();
  assert.match((await app.exec(["id", "-u"])).output, /^1000/);
});
