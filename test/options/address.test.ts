import assert from "node:assert/strict";
import { isIP } from "node:net";
import { test } from "node:test";
import { isIPv4, isIPv6 } from "../../src/options/address.ts";

test("addresses are read as node:net reads them", () => {
  const addresses =
    "1.2.3.4 255.255.255.255 256.1.1.1 1.2.3 1.2.3.4.5 01.2.3.4 1..2.3 0.0.0.0 a.b.c.d :: ::1 1:: 1:2:3:4:5:6:7:8 " +
    "1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 1::8 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1::2::3 ::: :1 1: ::ffff:1.2.3.4 1.2.3.4:: " +
    "::1.2.3 ::1.2.3.4:5 1:2:3:4:5:6:1.2.3.4 1:2:3:4:5:6:7:1.2.3.4 12345:: ::g fe80::1%eth0 fe80::1% fe80::1%a%b";
  for (const text of ["", " ", ...addresses.split(" ")]) {
    assert.equal(isIPv4(text), isIP(text) === 4, text);
    assert.equal(isIPv6(text), isIP(text) === 6, text);
  }
});
