/** Programs that know systemd's sockets, proxies on a descriptor, FastCGI, and a worker without a socket. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startMaster } from "../support/master.ts";
import { folder, start, temporary, upgradesUnderLoad } from "./example.ts";
import { fastcgi } from "./fastcgi.ts";

const SYSTEMD = ["-m", "notify", "--graceful-signal", "TERM"];

test("go-systemd", async (t) => {
  const server = path.join(temporary(t), "server");
  execFileSync("go", ["build", "-o", server, "."], { cwd: folder("go-systemd") });
  await upgradesUnderLoad(t, "go-systemd", { options: SYSTEMD, program: [server] });
});

test("c-systemd", async (t) => {
  const server = path.join(temporary(t), "server");
  execFileSync("gcc", ["-O2", "-Wall", "-Wextra", "-Werror", "-o", server, "server.c"], { cwd: folder("c-systemd") });
  await upgradesUnderLoad(t, "c-systemd", { options: SYSTEMD, program: [server] });
});

test("nginx", (t) =>
  upgradesUnderLoad(t, "nginx", {
    options: ["-m", "0.3", "--graceful-signal", "QUIT"],
    bind: "n",
    program: ["./start.sh"],
  }));

test("haproxy", (t) =>
  upgradesUnderLoad(t, "haproxy", {
    options: ["-m", "0.3", "--graceful-signal", "USR1"],
    program: ["haproxy", "-f", "haproxy.cfg"],
  }));

test("php-fpm: FastCGI requests survive upgrades", async (t) => {
  const options = ["-m", "notify", "--graceful-signal", "QUIT"];
  const master = await start(t, "php-fpm", { options, program: ["./start.sh"] });
  const port = await master.port();
  const script = path.join(folder("php-fpm"), "index.php");
  let over = false;
  const clients = Array.from({ length: 3 }, async () => {
    let answered = 0;
    for (; !over; answered += 1) assert.match(await fastcgi(port, script), /php-fpm generation=\d+/);
    return answered;
  });
  try {
    for (let upgrade = 0; upgrade < 20; upgrade += 1) assert.equal((await master.ask("upgrade")).error ?? false, false);
  } finally {
    over = true;
  }
  for (const answered of await Promise.all(clients)) assert.ok(answered > 20);
  await master.onlyGeneration(20);
  assert.match(await fastcgi(port, script), /generation=20/);
  assert.equal((await master.stop()).code, 0);
});

test("background: every job is done once, through upgrades", async (t) => {
  const jobs = temporary(t);
  const master = await startMaster(t, {
    args: ["-n", "2", "-m", "manual", "-s", "0.1"],
    program: ["/usr/bin/python3", "worker.py", jobs],
    cwd: folder("background"),
  });
  const number = 100;
  const names = (): string[] => fs.readdirSync(jobs);
  const add = (from: number, to: number): void => {
    for (let job = from; job < to; job += 1)
      fs.writeFileSync(path.join(jobs, `${String(job).padStart(3, "0")}.todo`), "");
  };
  add(0, 60);
  // The first generation has one at least, and the last has what comes when it is alone.
  while (names().every((name) => name.endsWith(".todo"))) await sleep(20);
  for (let upgrade = 0; upgrade < 10; upgrade += 1) assert.equal((await master.ask("upgrade")).error ?? false, false);
  await master.onlyGeneration(10);
  add(60, number);
  while (names().some((name) => name.endsWith(".todo"))) await sleep(20);
  assert.equal((await master.stop()).code, 0);
  assert.deepEqual(
    names().filter((name) => !name.endsWith(".done")),
    [],
    "nothing was left half done",
  );
  assert.equal(names().length, number);
  const generations = names().map((name) => JSON.parse(fs.readFileSync(path.join(jobs, name), "utf8")).generation);
  assert.ok(new Set(generations).size > 1, "several generations worked");
});
