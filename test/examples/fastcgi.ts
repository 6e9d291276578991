/** One FastCGI request on a connection of its own (FastCGI 1.0: sections 3.3, 3.4, 5.1, 6.2). */
import net from "node:net";

const VERSION = 1;
const BEGIN_REQUEST = 1;
const END_REQUEST = 3;
const PARAMS = 4;
const STDIN = 5;
const STDOUT = 6;
const RESPONDER = 1;
const HEADER_BYTES = 8;
/** Longer than an answer takes on a busy machine. */
const PATIENCE_MS = 60_000;

/** What the script printed, headers included; rejects when the answer is not whole. */
export function fastcgi(port: number, script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const received: Buffer[] = [];
    const socket = net.connect(port, "127.0.0.1", () => {
      const params = Buffer.concat([pair("SCRIPT_FILENAME", script), pair("REQUEST_METHOD", "GET")]);
      const role = Buffer.from([0, RESPONDER, 0, 0, 0, 0, 0, 0]);
      const records = [record(BEGIN_REQUEST, role), record(PARAMS, params), record(PARAMS), record(STDIN)];
      socket.write(Buffer.concat(records));
    });
    socket.on("data", (data: Buffer) => received.push(data));
    socket.on("error", reject);
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error(`no answer within ${PATIENCE_MS} ms`)));
    socket.on("end", () => {
      const { text, ended } = read(Buffer.concat(received));
      if (ended) resolve(text);
      else reject(new Error(`the answer was cut short after ${text.length} characters`));
    });
  });
}

function record(type: number, content: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.from([VERSION, type, 0, 1, 0, 0, 0, 0]);
  header.writeUInt16BE(content.length, 4);
  return Buffer.concat([header, content]);
}

function pair(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([name.length, value.length]), Buffer.from(name), Buffer.from(value)]);
}

function read(bytes: Buffer): { text: string; ended: boolean } {
  let text = "";
  let ended = false;
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const type = bytes[at + 1];
    const length = bytes.readUInt16BE(at + 4);
    const start = at + HEADER_BYTES;
    if (type === STDOUT) text += bytes.toString("utf8", start, start + length);
    if (type === END_REQUEST) ended = true;
    at = start + length + (bytes[at + 6] ?? 0);
  }
  return { text, ended };
}
