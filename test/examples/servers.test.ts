/** Application servers as they come from Debian, told by their READMEs' options how to finish. */
import { test } from "node:test";
import { type Example, upgradesUnderLoad } from "./example.ts";

const examples: readonly (readonly [string, string, Example])[] = [
  [
    "gunicorn",
    "gunicorn",
    {
      options: ["-m", "notify", "--graceful-signal", "TERM"],
      program: ["gunicorn", "--preload", "app:app"],
    },
  ],
  [
    "gunicorn",
    "gunicorn with threads and kept connections",
    {
      options: ["-m", "notify", "--graceful-signal", "TERM"],
      program: ["gunicorn", "--preload", "--worker-class", "gthread", "--threads", "4", "app:app"],
    },
  ],
  [
    "uvicorn",
    "uvicorn with the gentler stop",
    {
      options: ["-m", "manual", "--graceful-signal", "TERM"],
      program: ["python3", "serve.py", "app:app"],
    },
  ],
  [
    "uvicorn",
    "uvicorn as it is",
    {
      // Now and then it waits for ever for a connection that it should have closed: -t ends such a worker.
      options: ["-m", "manual", "--graceful-signal", "TERM", "-t", "10"],
      program: ["uvicorn", "--fd", "3", "--log-level", "warning", "app:app"],
      mayLose: 0.01,
    },
  ],
  [
    "puma",
    "puma",
    {
      options: ["-m", "manual", "--graceful-signal", "TERM"],
      bind: "defer_accept=1",
      program: ["puma", "--config", "puma.rb", "config.ru"],
    },
  ],
  [
    "unicorn",
    "unicorn",
    {
      options: ["-m", "manual", "--graceful-signal", "QUIT"],
      program: ["unicorn", "--config-file", "unicorn.rb", "config.ru"],
    },
  ],
  [
    "starman",
    "starman",
    {
      options: ["-m", "1", "--graceful-signal", "QUIT"],
      program: ["starman", "--workers", "2", "--disable-keepalive", "app.psgi"],
      mayLose: 0.01,
    },
  ],
];
for (const [name, title, example] of examples) test(title, (t) => upgradesUnderLoad(t, name, example));
