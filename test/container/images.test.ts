import assert from "node:assert/strict";
import { test } from "node:test";
import { startLoad } from "../support/load.ts";
import { startEinhorn } from "./harness.ts";

for (const base of ["20", "22", "24", "26", "musl"]) {
  test(`the product on ${base === "musl" ? "a musl Node" : `Node ${base}`} serves, upgrades and stops`, async () => {
    await using app = await startEinhorn({ image: `product:${base}` });
    const before = await app.identity();
    const load = startLoad({ host: app.host, port: app.port() });
    await load.served(20);
    app.release.set("v2");
    const upgrade = await app.einhornsh("upgrade");
    const report = await load.stop();
    assert.equal(upgrade.exitCode, 0, upgrade.output);
    assert.deepEqual(report.errors, []);
    assert.match((await app.get("/")).body, /^v2 /);
    assert.equal(await app.identity(), before);
    assert.equal((await app.stop(20)).exitCode, 0, await app.logs());
  });
}

test("the image runs as a user that is not root", async () => {
  await using app = await startEinhorn();
  assert.match((await app.exec(["id", "-u"])).output, /^1000/);
});
