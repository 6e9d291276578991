/** Sockets that are not opened by `-b HOST:PORT`: datagrams, and those that whoever started einhorn passed to it. */
import assert from "node:assert/strict";
import dgram from "node:dgram";
import { once } from "node:events";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { startLoad } from "../support/load.ts";
import { fixture, get, root, startMaster } from "../support/master.ts";
import { children, read } from "../support/processes.ts";

/** What systemd does: a listening socket at 3, its name and whom it is for in the environment, then exec. */
const activator = [
  "perl",
  "-e",
  `use Socket; use POSIX; $^F = 99;
   socket(my $s, AF_INET, SOCK_STREAM, 0); bind($s, sockaddr_in(0, INADDR_LOOPBACK)); listen($s, 99);
   POSIX::dup2(fileno($s), 3) unless fileno($s) == 3;
   @ENV{qw(LISTEN_FDS LISTEN_FDNAMES LISTEN_PID)} = (1, "web", $ENV{FOR_ANOTHER} ? 1 : $$);
   exec @ARGV`,
];
const server = [fixture("http-server.pl")];

function load(t: TestContext, port: number) {
  const running = startLoad({ port, concurrency: 4 });
  t.after(() => running.stop());
  return running;
}

function variables(pid: number | null | undefined): Map<string, string> {
  const pairs = (read(`/proc/${pid}/environ`) ?? "").split("\0").map((pair) => pair.split(/=(.*)/s));
  return new Map(pairs.map(([name = "", value = ""]) => [name, value]));
}

test("a datagram socket is shared by the workers, and no datagram is lost over upgrades", async (t) => {
  const master = await startMaster(t, {
    args: ["-m", "manual", "-n", "3", "-b", "udp:127.0.0.1:0"],
    program: [fixture("udp-echo.pl")],
  });
  const [worker] = await master.workers();
  assert.match(variables(worker?.pid).get("SERVER_STARTER_PORT") ?? "", /^127\.0\.0\.1:\d+=3$/);
  const port = await master.port();
  const client = dgram.createSocket("udp4");
  t.after(() => client.close());
  const generations = new Set<string>();
  let upgrades = 0;
  const upgrading = (async () => {
    for (; upgrades < 3; upgrades++) assert.equal((await master.sh("upgrade")).code, 0);
  })();
  for (let number = 0; upgrades < 3 || !generations.has("3"); number++) {
    client.send(`ping ${number}`, port, "127.0.0.1");
    // One that is lost is waited for until the test times out.
    const [answer] = (await once(client, "message")) as [Buffer];
    const [, , generation = ""] = String(answer).split(" ");
    assert.equal(String(answer), `ping ${number} ${generation}`);
    generations.add(generation);
  }
  await upgrading;
  assert.ok(generations.has("0") && generations.has("3"), [...generations].join());
});

test("started by socket activation, einhorn serves on the passed socket, by name, through upgrades", async (t) => {
  const master = await startMaster(t, {
    args: ["-m", "manual", "-n", "2", "-b", "fd:web"],
    program: server,
    through: activator,
  });
  const running = load(t, await master.port());
  for (let upgrade = 0; upgrade < 3; upgrade++) {
    assert.equal((await master.sh("upgrade")).code, 0);
    await running.served(20);
  }
  assert.deepEqual((await running.stop()).errors, []);
  for (const { pid } of (await master.onlyGeneration(3)).workers) {
    const found = variables(pid);
    assert.equal(found.get("LISTEN_PID"), String(pid));
    assert.equal(found.get("LISTEN_FDNAMES"), "web", "under the name it was passed by");
  }
});

test("a socket that was passed to another process is not taken", async (t) => {
  const master = await startMaster(t, {
    args: ["-b", "fd:web"],
    program: server,
    through: activator,
    env: { FOR_ANOTHER: "1" },
    until: "nothing",
  });
  const { code, stderr } = await master.ended();
  assert.equal(code, 1);
  assert.match(stderr, /fd:web.*for process 1\b/s);
});

test("einhorn under einhorn: sockets go through both, READY=1 comes back, an upgrade of the outer one replaces the inner", async (t) => {
  const inner = `exec node ${path.join(root, "dist/einhorn.cjs")} -d "$PWD/inner-$$.sock" -m manual -n 2 -b fd:web -- ${server[0]}`;
  const outer = await startMaster(t, {
    args: ["-m", "notify", "-n", "2", "-b", "127.0.0.1:0,name=web"],
    program: ["/bin/sh", "-c", inner],
  });
  const port = await outer.port();
  const running = load(t, port);
  await running.served(20);
  const before = await outer.workers();
  for (const { pid } of before) assert.equal(children(pid ?? 0).length, 2, "an inner master with its two workers");
  assert.equal((await outer.sh("upgrade")).code, 0);
  await running.served(20);
  assert.deepEqual((await running.stop()).errors, []);
  await outer.until(({ workers }) => workers.length === 2);
  const after = await outer.workers();
  for (const { pid } of before) assert.ok(!after.some((worker) => worker.pid === pid));
  for (const { pid } of after) {
    for (const worker of children(pid ?? 0)) {
      const found = variables(worker);
      assert.equal(found.get("EINHORN_MASTER_PID"), String(pid), "workers believe the inner master alone");
      assert.equal(found.get("NOTIFY_SOCKET"), undefined);
    }
  }
  assert.match(await get(port), /generation=0/);
});
