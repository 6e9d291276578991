import assert from "node:assert/strict";
import { test } from "node:test";
import { readBind, refuseDuplicates } from "../../src/options/bind.ts";
import { Refusal } from "../../src/options/refusal.ts";
import type { Bind } from "../../src/options.ts";

const readFile = (path: string) =>
  ({ "/etc/passwd": "www:x:33:33::/:/bin/sh\n", "/etc/group": "web:x:34:\n" })[path] ?? null;
const tcp = readBind("127.0.0.1:80");

test("targets", () => {
  const cases: [string, Bind["target"]][] = [
    ["127.0.0.1:80", { kind: "tcp", host: "127.0.0.1", port: 80 }],
    ["0.0.0.0:0", { kind: "tcp", host: "0.0.0.0", port: 0 }],
    ["[::1]:65535", { kind: "tcp", host: "::1", port: 65_535 }],
    ["[fe80::1%eth0]:80", { kind: "tcp", host: "fe80::1%eth0", port: 80 }],
    ["[::ffff:10.0.0.1]:80", { kind: "tcp", host: "::ffff:10.0.0.1", port: 80 }],
    ["localhost:80", { kind: "tcp", host: "localhost", port: 80 }],
    ["my-app.internal.:80", { kind: "tcp", host: "my-app.internal.", port: 80 }],
    ["unix:/run/a b.sock", { kind: "unix", path: "/run/a b.sock" }],
    ["unix:@abstract", { kind: "unix", path: "@abstract" }],
    ["udp:127.0.0.1:53", { kind: "udp", host: "127.0.0.1", port: 53 }],
    ["udp:[::]:53", { kind: "udp", host: "::", port: 53 }],
    ["fd:3", { kind: "fd", fd: 3 }],
    ["fd:http.socket", { kind: "fd-name", name: "http.socket" }],
  ];
  for (const [text, target] of cases) assert.deepEqual(readBind(text).target, target, text);
});

test("SO_REUSEADDR is on for IP sockets", () => {
  const on = ["1.2.3.4:5", "1.2.3.4:5,r", "1.2.3.4:5,SO_REUSEADDR", "udp:1.2.3.4:5"].map((text) => readBind(text));
  assert.deepEqual(
    on.map(({ reuseAddress }) => reuseAddress),
    [true, true, true, true],
  );
  assert.equal(readBind("unix:/x").reuseAddress, false);
});

test("options, in any case", () => {
  const cases: [string, Partial<Bind>][] = [
    ["r,n", { nonBlocking: true }],
    ["O_NonBlock", { nonBlocking: true }],
    ["queues=4", { queues: 4 }],
    ["QUEUES=Per-Worker", { queues: "per-worker" }],
    ["backlog=4096", { backlog: 4096 }],
    ["nodelay,defer_accept=5,fastopen=16,freebind", { noDelay: true, deferAcceptS: 5, fastOpen: 16, freeBind: true }],
    ["name=http", { name: "http" }],
  ];
  for (const [flags, expected] of cases) {
    const text = `127.0.0.1:80,${flags}`;
    assert.deepEqual(readBind(text), { ...tcp, text, ...expected });
  }
  assert.equal(readBind("[::]:80,v6only").v6Only, true);
  const unix = readBind("unix:/x,mode=0660,owner=www:web", readFile);
  assert.deepEqual([unix.mode, unix.owner], [0o660, { uid: 33, gid: 34 }]);
  assert.deepEqual(readBind("unix:/x,owner=500", readFile).owner, { uid: 500, gid: null });
});

const known =
  "known: r|so_reuseaddr, n|o_nonblock, queues=N|per-worker, v6only, backlog=N, nodelay, defer_accept=S, " +
  "fastopen=N, freebind, mode=0660, owner=U[:G], name=NAME";

test("what is refused, and with which words", () => {
  const cases: [string, string][] = [
    ["80", '"80" is not IPv4:PORT, [IPv6]:PORT or HOST:PORT'],
    [":80", '":80" is not IPv4:PORT, [IPv6]:PORT or HOST:PORT'],
    ["::1:80", "::1:80: an IPv6 address is put in brackets, such as [::1]:8080"],
    ["[::g]:80", '"::g" is not an IPv6 address'],
    ["[127.0.0.1]:80", '"127.0.0.1" is not an IPv6 address'],
    ["256.0.0.1:80", '"256.0.0.1" is not an IPv4 address or a host name'],
    ["127.1:80", '"127.1" is not an IPv4 address or a host name'],
    ["a_b..c:80", '"a_b..c" is not an IPv4 address or a host name'],
    ["127.0.0.1:", '"" is not a whole number from 0 to 65535 (the port)'],
    ["127.0.0.1:http", '"http" is not a whole number from 0 to 65535 (the port)'],
    ["127.0.0.1:65536", '"65536" is not a whole number from 0 to 65535 (the port)'],
    ["udp:localhost:53", '"localhost" is not an IP address'],
    ["unix:", '"" is not the path of a socket'],
    [`unix:/${"x".repeat(107)}`, `the path /${"x".repeat(107)} is 108 bytes long, 107 is the most (unix(7))`],
    ["fd:2", "descriptor 2 is stdin, stdout or stderr; adopted sockets are 3 or above"],
    ["fd:", '"" is not a name: 1 to 255 printable ASCII characters without ":"'],
    ["127.0.0.1:80,rn", `"rn" is no bind option; ${known}`],
    ["127.0.0.1:80,", `"" is no bind option; ${known}`],
    ["127.0.0.1:80,nodlay", `"nodlay" is no bind option (did you mean nodelay?); ${known}`],
    ["127.0.0.1:80,nodelay=1", "the bind option nodelay takes no value"],
    ["127.0.0.1:80,backlog", "the bind option backlog needs a value: backlog=N"],
    ["127.0.0.1:80,backlog=0", '"0" is not a whole number, 1 or more'],
    ["127.0.0.1:80,queues=0", '"0" is not a whole number from 1 to 1024 or "per-worker"'],
    ["127.0.0.1:80,mode=0660", "the bind option mode is for unix sockets, not for 127.0.0.1:80"],
    ["unix:/x,nodelay", "the bind option nodelay is for tcp sockets, not for unix:/x"],
    ["unix:/x,r", "the bind option so_reuseaddr is for tcp and udp sockets, not for unix:/x"],
    ["fd:3,backlog=5", "the bind option backlog is for tcp and unix sockets, not for fd:3"],
    ["127.0.0.1:80,v6only", "the bind option v6only is for IPv6 addresses"],
    ["unix:/x,mode=999", '"999" is not an octal number from 0 to 777, such as 022'],
    ["unix:/x,owner=", "the bind option owner needs a value: owner=U[:G]"],
    ["unix:/x,owner=nobody2", '"nobody2" is no user in /etc/passwd and no number from 0 to 4294967294'],
    ["127.0.0.1:80,name=a:b", '"a:b" is not a name: 1 to 255 printable ASCII characters without ":"'],
    ["127.0.0.1:80,defer_accept=0", '"0" is not a whole number from 1 to 86400'],
  ];
  for (const [text, message] of cases) assert.throws(() => readBind(text, readFile), new Refusal(message), text);
});

test("one address may be bound once, a picked port and another protocol are others", () => {
  const read = (...texts: string[]) => texts.map((text) => readBind(text));
  for (const [first, second] of [
    ["127.0.0.1:80", "127.0.0.1:80,n"],
    ["Localhost:80", "localhost:80"],
    ["unix:/x:0", "unix:/x:0,n"],
    ["fd:3", "fd:3"],
    ["fd:a", "fd:a"],
  ] as const) {
    const message = `${first} and ${second} are the same address; give it once`;
    assert.throws(() => refuseDuplicates(read(first, second)), new Refusal(message));
  }
  refuseDuplicates(read("127.0.0.1:80", "udp:127.0.0.1:80", "127.0.0.1:81", "[::1]:80", "unix:/x", "fd:3", "fd:4"));
  refuseDuplicates(read("127.0.0.1:0", "127.0.0.1:0"));
});
