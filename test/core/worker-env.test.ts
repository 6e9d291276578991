import assert from "node:assert/strict";
import { test } from "node:test";
import { type WorkerEnvironment, workerEnvironment } from "../../src/core/worker-env.ts";

const plain: WorkerEnvironment = {
  launchEnv: {},
  sockets: [],
  masterPid: 1,
  sockPath: "/run/einhorn.sock",
  sockFd: null,
  slot: 2,
  generation: 7,
  notifySocket: null,
  watchdogMs: null,
};

const tcp = { fd: 3, family: "AF_INET", name: "127.0.0.1:80,n", address: { host: "127.0.0.1", port: 80 } };
const tcp6 = { fd: 4, family: "AF_INET6", name: "http", address: { host: "::1", port: 8080 } };
const unix = { fd: 5, family: "AF_UNIX", name: "unix:/run/é.sock", address: { path: "/run/é.sock" } };

function environment(more: Partial<WorkerEnvironment>): Record<string, string> {
  const strings = workerEnvironment({ ...plain, ...more });
  const names = strings.map((text) => text.slice(0, text.indexOf("=")));
  assert.equal(new Set(names).size, names.length, "no name twice");
  return Object.fromEntries(strings.map((text, i) => [names[i], text.slice((names[i]?.length ?? 0) + 1)]));
}

test("a worker without sockets finds its master, and nothing of systemd or Server::Starter", () => {
  assert.deepEqual(environment({}), {
    EINHORN_MASTER_PID: "1",
    EINHORN_SOCK_PATH: "/run/einhorn.sock",
    EINHORN_CHILD_INDEX: "2",
    EINHORN_GENERATION: "7",
    EINHORN_FD_COUNT: "0",
    EINHORN_FDS: "",
  });
});

test("sockets are told in einhorn's, systemd's and Server::Starter's way", () => {
  assert.deepEqual(environment({ sockets: [tcp, tcp6, unix] }), {
    ...environment({}),
    EINHORN_FD_COUNT: "3",
    EINHORN_FDS: "3 4 5",
    EINHORN_FD_0: "3",
    EINHORN_FD_1: "4",
    EINHORN_FD_2: "5",
    EINHORN_FD_FAMILY_0: "AF_INET",
    EINHORN_FD_FAMILY_1: "AF_INET6",
    EINHORN_FD_FAMILY_2: "AF_UNIX",
    LISTEN_FDS: "3",
    LISTEN_PID: "0000000000",
    LISTEN_FDNAMES: "127.0.0.1_80,n:http:unix_/run/_.sock",
    SERVER_STARTER_PORT: "127.0.0.1:80=3;[::1]:8080=4;/run/é.sock=5",
    SERVER_STARTER_GENERATION: "7",
  });
});

test("names have as many characters as systemd allows, and never none", () => {
  const named = (name: string) => environment({ sockets: [{ ...tcp, name }] }).LISTEN_FDNAMES;
  assert.equal(named("x".repeat(300)), "x".repeat(255));
  assert.equal(named("a:b\\c\n"), "a_b_c_");
  assert.equal(named(""), "unknown");
});

test("-g, -m notify and --watchdog add theirs", () => {
  const more = environment({ sockFd: 4, notifySocket: "@einhorn", watchdogMs: 1500 });
  assert.deepEqual(more, {
    ...environment({}),
    EINHORN_SOCK_FD: "4",
    NOTIFY_SOCKET: "@einhorn",
    WATCHDOG_USEC: "1500000",
  });
});

test("what an outer supervisor said to einhorn is not passed on, everything else is", () => {
  const launchEnv = {
    PATH: "/bin",
    EMPTY: "",
    "with space": "a=b",
    LISTENER: "x",
    NOTIFY_SOCKETS: "x",
    EINHORN_OPTS: "-n 3",
    EINHORN_FD_9: "9",
    EINHORN_SOCK_FD: "9",
    LISTEN_FDS: "1",
    LISTEN_PID: "1",
    LISTEN_FDNAMES: "a",
    NOTIFY_SOCKET: "/run/systemd/notify",
    WATCHDOG_USEC: "1",
    WATCHDOG_PID: "1",
    SERVER_STARTER_PORT: "80=3",
    SERVER_STARTER_GENERATION: "1",
  };
  const { PATH, EMPTY, LISTENER, NOTIFY_SOCKETS } = launchEnv;
  const kept = { PATH, EMPTY, "with space": "a=b", LISTENER, NOTIFY_SOCKETS };
  assert.deepEqual(environment({ launchEnv }), { ...kept, ...environment({}) });
});

test("the master's preload object is taken out, others stay", () => {
  const cases: [string, string | undefined][] = [
    ["/opt/einhorn/hold-signals.so", undefined],
    ["hold-signals.so", undefined],
    ["/opt/hold-signals.so:/lib/jemalloc.so", "/lib/jemalloc.so"],
    ["/lib/a.so /opt/hold-signals.so /lib/b.so", "/lib/a.so:/lib/b.so"],
    ["/lib/not-hold-signals.so", "/lib/not-hold-signals.so"],
  ];
  for (const [LD_PRELOAD, expected] of cases) {
    assert.equal(environment({ launchEnv: { LD_PRELOAD } }).LD_PRELOAD, expected, LD_PRELOAD);
  }
});
