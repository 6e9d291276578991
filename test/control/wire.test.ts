/** Requests as the existing clients write them (Ruby, Go, Node, PHP, Python, goji) and as nobody should. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Decoded, decodeRequest, encodeReply } from "../../src/control/wire.ts";

function decode(line: string | Buffer): Decoded | null {
  return decodeRequest(Buffer.from(line));
}

function accept(line: string | Buffer) {
  const decoded = decode(line);
  assert.ok(decoded !== null && "request" in decoded, `${line} gave ${JSON.stringify(decoded)}`);
  return decoded.request;
}

function refuse(line: string | Buffer): string {
  const decoded = decode(line);
  assert.ok(decoded !== null && "error" in decoded, `${String(line).slice(0, 80)} gave ${JSON.stringify(decoded)}`);
  return decoded.error;
}

test("every existing client's ACK is understood", () => {
  const ack = { command: "worker:ack", requestId: null };
  assert.deepEqual(accept("---%0Acommand: worker:ack%0Apid: 5%0A"), ack, "Ruby");
  assert.deepEqual(accept("command: worker:ack%0Apid: 5%0A"), ack, "Go");
  assert.deepEqual(accept('{"command": "worker:ack", "pid": 5}'), ack, "goji, Python");
  assert.deepEqual(accept('{"command":"worker:ack","pid":5}'), ack, "PHP");
  assert.deepEqual(accept(encodeURI("---\ncommand: worker:ack\npid: 5")), ack, "Node");
  assert.deepEqual(accept(encodeURIComponent("---\ncommand: worker:ack\npid: 5")), ack, "all of it encoded");
  assert.deepEqual(accept("{command: worker:ack, pid: 5}"), ack, "YAML that begins like JSON");
});

test("the id comes as id or as request_id, number or text", () => {
  assert.equal(accept('{"command":"state","id":7}').requestId, 7);
  assert.equal(accept("command: state%0Arequest_id: 7%0A").requestId, 7);
  assert.equal(accept("---%0Acommand: worker:ping%0Apid: 5%0Arequest_id: abc%0A").requestId, "abc");
  assert.equal(accept('{"command":"state","id":"a","request_id":"b"}').requestId, "a");
  for (const id of ["null", "true", "[1]", '{"a":1}', "1e21"]) {
    assert.equal(accept(`{"command":"state","id":${id}}`).requestId, null, id);
  }
});

test("arguments and the user come through, unknown keys do not", () => {
  const request = { command: "signal", args: ["USR1", 2], user: "root", requestId: 1 };
  assert.deepEqual(accept('{"id":1,"command":"signal","args":["USR1",2],"user":"root","pid":3,"shell":"x"}'), request);
  assert.deepEqual(accept("---%0Aid: 1%0Acommand: signal%0Aargs:%0A- USR1%0A- 2%0Auser: root%0A"), request);
});

test("blank lines are no requests", () => {
  for (const line of ["", " ", "\r", "\t \r"]) assert.equal(decode(line), null);
});

test("a line may end as Windows and telnet end it", () => {
  assert.equal(accept('{"command":"state"}\r').command, "state");
  assert.equal(accept("command: state\r").command, "state");
  assert.equal(accept('  {"command":"state"} ').command, "state");
});

test("percent signs are decoded once, in YAML only, and only where two hexadecimal digits follow", () => {
  assert.equal(accept("command: 'a%2541'").command, "a%41");
  assert.equal(accept("command: '100%25 %zz %4 %'").command, "100% %zz %4 %");
  assert.equal(accept("command: caf%C3%A9").command, "café");
  assert.equal(accept("command: 'a+b'").command, "a+b");
  assert.equal(accept('{"command":"a%41"}').command, "a%41");
});

test("what is no mapping is explained, with an example", () => {
  for (const line of ["state", "- a", "[1]", "5", "null", "'x'", '"x"']) {
    assert.match(refuse(line), /a mapping on one line, such as \{"command": "status"\}/, line);
  }
  assert.match(refuse('{"command": "state"'), /Not valid YAML/);
  assert.match(refuse('{"command": }}'), /Not valid YAML/);
});

test("YAML that can do more than say something is refused by name", () => {
  assert.match(refuse("command: !ruby/object:Gem::Installer x"), /tags/);
  assert.match(refuse("command: !!js/function 'x'"), /tags/);
  assert.match(refuse("a: &a [x]%0Ab: *a"), /anchors/);
  assert.match(refuse("b: *a"), /aliases/);
  assert.match(refuse("? a%0A: b"), /complex keys/);
  assert.match(refuse("%25YAML 1.1%0A---%0Aa: 1"), /directives/);
  assert.match(refuse("---%0Aa: 1%0A---%0Ab: 1"), /One YAML document/);
  assert.match(refuse("a: 1%0Aa: 2"), /unique/);
});

test("a merge key merges nothing", () => {
  assert.equal(accept("<<: {command: die}%0Acommand: state").command, "state");
  assert.equal(accept("<<: {command: die}").command, undefined);
});

test("names that mean something to JavaScript's objects are refused at any depth", () => {
  for (const name of ["__proto__", "constructor", "prototype"]) {
    assert.match(refuse(`{"${name}": {"x": 1}}`), new RegExp(`"${name}" is not accepted`));
    assert.match(refuse(`{"command": "config", "args": [{"a": {"${name}": 1}}]}`), new RegExp(name));
    assert.match(refuse(`command: config%0Aargs:%0A- ${name}: 1`), new RegExp(name));
  }
  assert.equal(({} as Record<string, unknown>).x, undefined);
});

test("nesting is limited, whatever it is made of", () => {
  const deep = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;
  assert.match(refuse(`{"command":"x","args":${deep}}`), /Nested deeper than 16/);
  assert.match(refuse(`args: ${"[".repeat(100)}`), /Nested deeper than 16/);
  assert.match(refuse(`args:%0A  ${"- ".repeat(100)}`), /Nested deeper than 16/);
  assert.match(refuse("a: ".repeat(100)), /Too much YAML/);
});

test("any line is answered soon, and none ends the process", () => {
  // Each of these kept the yaml package busy for long, or crashed it, before its tokens were looked at first.
  const pieces = [
    "[",
    "{",
    "- ",
    "? ",
    ": ",
    "&a ",
    "*a ",
    "!a ",
    ",",
    "]",
    "'",
    '"',
    "\\",
    "{a: 1},",
    "a ",
    "\t",
    "#",
  ];
  pieces.push("|", "%0A", "a: 1%0A", "- a%0A", "--- a%0A", "x%0A%0A", "%0D");
  for (const piece of pieces) {
    for (const start of ["", "{", "a: ", "[", '"', "--- ", '{"args":[']) {
      for (const length of [300, 600, 16_000, 65_536]) {
        const line = Buffer.from((start + piece.repeat(Math.ceil(length / piece.length))).slice(0, length));
        const before = process.cpuUsage();
        decodeRequest(line);
        const used = process.cpuUsage(before);
        // CPU time, not the clock: a busy machine does not count. The package alone takes seconds to minutes.
        assert.ok(used.user + used.system < 500_000, `${start}${piece} × ${length}: ${used.user} µs of CPU time`);
      }
    }
  }
});

test("a reply is one line that JSON, YAML and Go's QueryUnescape read alike", () => {
  const message = '100% + more\nsecond line \u007f\u0085 é 🦄 "quoted" \\';
  const line = encodeReply({ message, requestId: "a+b%", wait: false, error: false, data: { "k%": "+" } });
  assert.equal(line.indexOf("\n"), line.length - 1);
  for (const char of ["%", "+", "\u007f", "\u0085"]) assert.ok(!line.includes(char), JSON.stringify(char));
  assert.match(line, /100\\u0025 \\u002b more\\nsecond/);
  assert.deepEqual(JSON.parse(line), { message, request_id: "a+b%", data: { "k%": "+" } });
  assert.deepEqual(JSON.parse(decodeURIComponent(line.replaceAll("+", " "))), JSON.parse(line));
});

test("wait and error are there only when true, and no id is no key", () => {
  const reply = { message: "m", requestId: null, wait: false, error: false };
  assert.equal(encodeReply(reply), '{"message":"m"}\n');
  assert.equal(encodeReply({ ...reply, requestId: 0, wait: true }), '{"message":"m","request_id":0,"wait":true}\n');
  assert.equal(encodeReply({ ...reply, error: true }), '{"message":"m","error":true}\n');
});
