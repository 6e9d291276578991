/**
 * The least that a supervisor on Node can be: einhorn's addon tells of a death, reaps, and starts the one program anew. What einhorn takes
 * longer than this for the same is its own; what this takes longer than a program in C is Node's.
 */
const { join } = require("node:path");
const native = require(join(__dirname, "../../dist/einhorn.node"));

const sigchld = 17;
const [file] = process.argv.slice(2);
const env = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
const start = () => native.spawn({ files: [file], args: [file], env, fds: [], stdio: [null, null, null] });

const [read, write] = native.pipe({});
const record = Buffer.alloc(8);
native.onReady(() => {
  native.read({ fd: read, buffer: record });
  for (const _ of native.reap({ limit: 256 }).deaths) start();
});
native.catchSignals({ signals: [sigchld], fd: write });
native.watch({ fd: read, events: 1 });
start();
