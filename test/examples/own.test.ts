/** The examples that were written for einhorn: they ACK by themselves and finish on SIGUSR2. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import net from "node:net";
import path from "node:path";
import { test } from "node:test";
import { type Example, folder, start, temporary, upgradesUnderLoad } from "./example.ts";

const MANUAL = { options: ["-m", "manual"] } as const;

const examples: readonly (readonly [string, string, Example])[] = [
  ["ruby", "ruby", { ...MANUAL, program: ["ruby", "server.rb"] }],
  ["ruby", "ruby, ACK over its own connection", { options: ["-m", "manual", "-g"], program: ["ruby", "server.rb"] }],
  ["python", "python", { ...MANUAL, program: ["python3", "server.py"] }],
  ["perl", "perl", { ...MANUAL, program: ["perl", "server.pl"] }],
  ["php", "php", { ...MANUAL, program: ["php", "server.php"] }],
  ["node-http", "node-http", { ...MANUAL, program: ["node", "server.mjs"] }],
  ["node-http", "node-http with the library", { ...MANUAL, program: ["node", "with-library.mjs"] }],
];
for (const [name, title, example] of examples) test(title, (t) => upgradesUnderLoad(t, name, example));

test("go", async (t) => {
  const server = path.join(temporary(t), "server");
  execFileSync("go", ["build", "-o", server, "."], { cwd: folder("go") });
  await upgradesUnderLoad(t, "go", { ...MANUAL, program: [server] });
});

/** All that the server says to one who connects. */
function listen(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = net.connect(port, "127.0.0.1");
    socket.setEncoding("utf8").on("data", (more: string) => {
      text += more;
    });
    socket.on("error", reject).on("end", () => resolve(text));
  });
}

test("time-server: everyone who connects is told the time, through upgrades", async (t) => {
  const master = await start(t, "time-server", { ...MANUAL, program: ["ruby", "time_server.rb"] });
  const port = await master.port();
  let over = false;
  const clients = Array.from({ length: 3 }, async () => {
    let told = 0;
    while (!over) {
      assert.match(await listen(port), /^\d\d:\d\d:\d\d from worker [01], pid \d+, generation \d+\n$/);
      told += 1;
    }
    return told;
  });
  for (let upgrade = 0; upgrade < 20; upgrade += 1) assert.equal((await master.ask("upgrade")).error ?? false, false);
  over = true;
  for (const told of await Promise.all(clients)) assert.ok(told > 20);
  await master.onlyGeneration(20);
  assert.match(await listen(port), /generation 20/);
  assert.equal((await master.stop()).code, 0);
});
