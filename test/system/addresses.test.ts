/** Socket addresses as bytes and back; that the kernel takes them is seen in sockets.test.ts and listeners.test.ts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ipAddress, readAddress, unixAddress } from "../../src/system/addresses.ts";

const ip = (host: string, port = 80) => {
  const address = ipAddress(host, port);
  assert.ok(address, host);
  return address;
};

test("IPv4", () => {
  const { family, bytes } = ip("192.0.2.1", 8080);
  assert.equal(family, "AF_INET");
  assert.deepEqual([...bytes], [2, 0, 0x1f, 0x90, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual(readAddress(bytes), { family: "AF_INET", text: "192.0.2.1:8080", host: "192.0.2.1", port: 8080 });
});

test("IPv6 in every spelling, read back in its shortest", () => {
  for (const [typed, short] of [
    ["::", "::"],
    ["::1", "::1"],
    ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["1::8", "1::8"],
    ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
    ["::ffff:192.0.2.1", "::ffff:c000:201"],
    ["fe80::", "fe80::"],
  ] as const) {
    const { family, bytes } = ip(typed, 65535);
    assert.equal(family, "AF_INET6");
    assert.equal(bytes.length, 28);
    assert.equal(readAddress(bytes)?.text, `[${short}]:65535`, typed);
  }
  assert.deepEqual(
    [...ip("102:304:506:708:90a:b0c:d0e:f10").bytes.slice(8, 24)],
    Array.from({ length: 16 }, (_, n) => n + 1),
  );
});

test("a zone by number and by name", () => {
  const scope = (host: string) => Buffer.from(ip(host).bytes).readUInt32LE(24);
  assert.equal(scope("fe80::1%7"), 7);
  assert.equal(scope("fe80::1%no-such-interface"), 0);
});

test("what is no address is null", () => {
  for (const text of ["", "localhost", "1.2.3", "1.2.3.4.5", "::1::", "[::1]", "256.1.1.1"])
    assert.equal(ipAddress(text, 1), null, text);
});

test("UNIX paths and abstract names, up to their longest", () => {
  for (const path of ["/run/app.sock", "@abstract", `/${"x".repeat(106)}`, `@${"x".repeat(106)}`, "/tmp/ü"]) {
    assert.deepEqual(readAddress(unixAddress(path)), {
      family: "AF_UNIX",
      text: `unix:${path}`,
      host: path,
      port: null,
    });
  }
  assert.throws(() => unixAddress(`/${"x".repeat(107)}`), RangeError);
  assert.equal(readAddress(Uint8Array.of(1, 0))?.text, "unix:");
});

test("other families are nobody's", () => {
  assert.equal(readAddress(Uint8Array.of(16, 0, 0, 0)), null);
  assert.equal(readAddress(new Uint8Array()), null);
});
