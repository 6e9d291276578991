/** Binds of IP addresses and of inherited descriptors against the kernel, and what an operator reads when one fails. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { closeListeners, type Listener, openListeners } from "../../src/system/listeners.ts";
import { native } from "../../src/system/native.ts";
import { bind, connects, int, isNonBlocking, listenersModule, opened, refusal, tcp } from "./binding.ts";
import { run } from "./child.ts";

describe("TCP and UDP", () => {
  test("port 0 is a port that answers, and the descriptor is one to pass on", async () => {
    await opened([bind(tcp())], async ({ port, address, family, fds }) => {
      assert.equal(address, `127.0.0.1:${port}`);
      assert.equal(family, "AF_INET");
      assert.equal(native.isInheritable({ fd: fds[0] as number }), true);
      assert.equal(await connects({ host: "127.0.0.1", port: port as number }), true);
    });
  });

  test("IPv6, with and without IPv4 on the same port", async () => {
    await opened([bind(tcp("::"), { v6Only: false })], async ({ port, family, address }) => {
      assert.equal(family, "AF_INET6");
      assert.equal(address, `[::]:${port}`);
      assert.equal(await connects({ host: "127.0.0.1", port: port as number }), true);
    });
    await opened([bind(tcp("::"), { v6Only: true })], async ({ port }) => {
      assert.equal(await connects({ host: "127.0.0.1", port: port as number }), false);
      assert.equal(await connects({ host: "::1", port: port as number }), true);
      // The IPv4 half of the port is still free.
      await opened([bind(tcp("0.0.0.0", port as number))], () => {});
    });
  });

  test("a name is looked up, one that has no address is an error that says so", async () => {
    await opened([bind(tcp("localhost"))], ({ address }) => assert.match(address, /^(127\.0\.0\.1|\[::1\]):\d+$/));
    assert.match(
      await refusal(bind(tcp("no-such-host.invalid", 80))),
      /^Cannot bind the tcp bind: the name no-such-host\.invalid has no address/,
    );
  });

  test("every option reaches the socket", async () => {
    const options = { noDelay: true, deferAcceptS: 3, fastOpen: 7, freeBind: true, nonBlocking: true, backlog: 9 };
    await opened([bind(tcp("192.0.2.7"), options)], async ({ fds: [fd = -1] }) => {
      assert.equal(int(fd, 1, 2), 1, "SO_REUSEADDR");
      assert.equal(int(fd, 6, 1), 1, "TCP_NODELAY");
      assert.equal(int(fd, 6, 9), 3, "TCP_DEFER_ACCEPT");
      assert.equal(int(fd, 6, 23), 7, "TCP_FASTOPEN");
      assert.equal(int(fd, 0, 15), 1, "IP_FREEBIND");
      const tcpInfo = native.getSocketOption({ fd, level: 6, name: 11, length: 104 });
      assert.equal(new DataView(tcpInfo.buffer).getUint32(28, true), 9, "the accept queue's limit, tcpi_sacked");
      assert.equal(await isNonBlocking(fd), true);
    });
    await opened([bind(tcp("2001:db8::7"), { freeBind: true })], ({ address }) =>
      assert.match(address, /^\[2001:db8::7\]:/),
    );
    await opened([bind(tcp(), { reuseAddress: false })], async ({ fds: [fd = -1] }) => {
      for (const [level, name] of [
        [1, 2],
        [6, 1],
        [6, 9],
        [0, 15],
      ] as const)
        assert.equal(int(fd, level, name), 0);
      assert.equal(await isNonBlocking(fd), false);
    });
  });

  test("UDP is bound once", async () => {
    await opened([bind({ kind: "udp", host: "127.0.0.1", port: 0 })], async ({ address, port }) => {
      assert.equal(address, `udp:127.0.0.1:${port}`);
      assert.match(await refusal(bind({ kind: "udp", host: "127.0.0.1", port: port as number })), /EADDRINUSE/);
    });
  });

  test("a port in use names its owner, and closes what was opened before", async () => {
    const server = spawn(process.execPath, [
      "-e",
      "const s=require('net').createServer().listen(0,'127.0.0.1',()=>console.log(s.address().port))",
    ]);
    const port = Number((await once(server.stdout, "data"))[0]);
    const path = join(tmpdir(), `einhorn-first-${process.pid}.sock`);
    const message = await refusal(bind({ kind: "unix", path }), bind(tcp("127.0.0.1", port)));
    assert.match(message, /^Cannot bind the tcp bind: bind EADDRINUSE: .*It belongs to \S+.* \(pid \d+\)/);
    assert.ok(message.includes(`(pid ${server.pid})`), message);
    assert.equal(existsSync(path), false);
    server.kill();
    await once(server, "exit");
    await opened([bind(tcp())], async ({ port }) => {
      assert.match(await refusal(bind(tcp("127.0.0.1", port as number))), /Two binds ask for the same port/);
    });
  });

  test("an address that is not here, and a port that is not ours to take", async () => {
    assert.match(await refusal(bind(tcp("192.0.2.7", 80))), /EADDRNOTAVAIL.*192\.0\.2\.7.*freebind/);
    const script = `const { openListeners } = await import(${listenersModule});
      process.setgid(65534); process.setuid(65534);
      await openListeners([${JSON.stringify(bind(tcp("127.0.0.1", 81)))}], 5).catch((error) => console.log(error.message));`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script]);
    const [output] = await Promise.all([once(child.stdout, "data"), once(child, "exit")]);
    assert.match(String(output[0]), /EACCES.*Ports below 1024.*CAP_NET_BIND_SERVICE/);
  });
});

describe("descriptors that were passed to us", () => {
  test("a listening socket and a datagram socket are taken, others are refused", async () => {
    const [given] = await openListeners([bind(tcp())], 5);
    const fd = (given as Listener).fds[0] as number;
    native.setInheritable({ fd, inheritable: false });
    const [adopted] = await openListeners([bind({ kind: "fd", fd }, { nonBlocking: true, backlog: 3 })], 5);
    assert.deepEqual(adopted, { ...given, text: "the fd bind" });
    assert.equal(native.isInheritable({ fd }), true);
    assert.equal(await isNonBlocking(fd), true);
    closeListeners([given as Listener]);
    const [datagram, deaf] = [native.socket({ family: 2, type: 2 }), native.socket({ family: 2, type: 1 })];
    await opened([bind({ kind: "fd", fd: datagram })], ({ address }) => assert.equal(address, "udp:0.0.0.0:0"));
    assert.match(await refusal(bind({ kind: "fd", fd: deaf })), /is a socket that does not listen/);
    assert.match(await refusal(bind({ kind: "fd", fd: 9999 })), /is not open \(EBADF\)/);
    const file = openSync("/etc/passwd", "r");
    assert.match(await refusal(bind({ kind: "fd", fd: file })), /is no socket \(ENOTSOCK\)/);
    for (const fd of [deaf, file]) closeSync(fd);
  });

  test("by name, as systemd passes them, if they are for us", async () => {
    const [one, two] = await openListeners([bind(tcp()), bind(tcp())], 5);
    const fds = [one, two].map((listener) => listener?.fds[0] as number);
    const script = `const { openListeners } = await import(${listenersModule});
      const bind = (name) => ({ ...${JSON.stringify(bind(tcp()))}, text: "fd:" + name, target: { kind: "fd-name", name } });
      for (const name of ["web", "none"]) await openListeners([bind(name)], 5).then(([l]) => console.log(l.fds[0], l.address), (e) => console.log(e.message));`;
    const start = async (listenPid: string) => {
      const env = ["LISTEN_FDS=2", "LISTEN_FDNAMES=admin:web", listenPid, "PATH=/usr/bin:/bin"];
      return (
        await run({ files: [process.execPath], args: ["node", "--input-type=module", "-e", script], env, fds })
      ).output.split("\n");
    };
    const [web, none] = await start("LISTEN_PID=");
    assert.equal(web, `4 ${two?.address}`);
    assert.match(none ?? "", /^Cannot bind fd:none: no passed socket is named "none"\. There are: admin, web\./);
    assert.match((await start("NO_LISTEN_PID=1"))[0] ?? "", /are for process undefined/);
    closeListeners([one, two] as Listener[]);
  });
});
