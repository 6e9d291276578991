/** Every example's Dockerfile is built, from base images made here; what it makes becomes ready, is upgraded, and stops with exit 0. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { HTTP_PORT, startEinhorn } from "../container/harness.ts";
import { root } from "../support/master.ts";

const examples = path.join(root, "examples");
const names = fs.readdirSync(examples).filter((name) => fs.existsSync(path.join(examples, name, "Dockerfile")));

for (const name of names) {
  test(name, async () => {
    await using app = await startEinhorn({
      image: `example:${name}`,
      command: [],
      mounts: [],
      host: { Tmpfs: { "/jobs": "mode=1777" } },
    });
    const before = await app.identity();
    const speaksHttp = fs.readFileSync(path.join(examples, name, "Dockerfile"), "utf8").includes(`EXPOSE ${HTTP_PORT}`);
    if (speaksHttp) assert.equal((await app.get("/")).status, 200);
    const upgrade = await app.einhornsh("upgrade");
    assert.equal(upgrade.exitCode, 0, upgrade.output);
    if (speaksHttp) assert.match((await app.get("/")).body, /\S/);
    assert.equal(await app.identity(), before);
    assert.equal((await app.stop(30)).exitCode, 0, await app.logs());
  });
}
