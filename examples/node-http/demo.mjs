// `npm start`: four copies of the HTTP server behind one port, in the foreground, until Ctrl-C.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const port = process.env.PORT ?? "8080";
const shell = "node dist/einhornsh.cjs -c demo";

console.log(`Four copies of examples/node-http/server.mjs on http://127.0.0.1:${port}/

  Ask them:            curl http://127.0.0.1:${port}/     (again and again: any of the four answers)
  Replace all four:    ${shell} upgrade     (in another terminal; no request fails meanwhile)
  Look at them:        ${shell} status
  More or fewer:       ${shell} set_workers 6
  Stop:                Ctrl-C here
`);

const options = ["-c", "demo", "-n", "4", "-m", "manual", "-b", `127.0.0.1:${port}`];
const einhorn = spawn(
  process.execPath,
  [here("../../dist/einhorn.cjs"), ...options, "--", process.execPath, here("server.mjs")],
  { stdio: "inherit" },
);
// Ctrl-C reaches einhorn by itself: it is in the same terminal. This process waits for its end, and passes on what was for it alone.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => einhorn.kill("SIGTERM"));
einhorn.on("exit", (code) => process.exit(code ?? 1));
