/**
 * The supervisors side by side. An adapter is a name, how to install it, and `start`: the command that runs `n` copies of
 * the C worker (or the same in the supervisor's own language, where it runs nothing else). To add one, add an entry.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cache, einhorn, networkEnv, node, programs, root } from "./lib.mjs";

const app = (name) => join(root, "bench", "apps", name);
const pm2 = join(cache, "pm2", "node_modules", ".bin", "pm2-runtime");

/** A file of the run's directory. */
function file(dir, name, text, mode = 0o644) {
  writeFileSync(join(dir, name), text, { mode });
  return join(dir, name);
}

export const peers = {
  einhorn: {
    start: ({ n, port, dir, worker, args = [], bind = "" }) => ({
      command: [
        einhorn,
        "-b",
        `127.0.0.1:${port}${bind}`,
        "-n",
        `${n}`,
        "-d",
        join(dir, "einhorn.sock"),
        ...args,
        "--",
        worker,
      ],
    }),
  },
  "C posix_spawn loop": {
    start: ({ n, port, worker }) => ({
      command: [programs.tool, "spawn", `${n}`, worker],
      env: { BENCH_PORT: `${port}` },
    }),
  },
  /** Not installed anywhere: what Node itself makes of a death and a start, with nothing around it. */
  "Node, addon alone": {
    single: true,
    start: ({ port, worker }) => ({
      command: [node, app("respawner.cjs"), worker],
      env: { BENCH_PORT: `${port}` },
    }),
  },
  "Ruby einhorn": {
    found: () => spawnSync("einhorn", ["--help"]).status === 0,
    start: ({ n, port, dir, worker, args = [] }) => ({
      command: [
        "einhorn",
        "-b",
        `127.0.0.1:${port}`,
        "-n",
        `${n}`,
        "-d",
        join(dir, "einhorn.sock"),
        ...args,
        "--",
        worker,
      ],
    }),
  },
  supervisord: {
    apt: "supervisor",
    start: ({ n, port, dir, worker }) => {
      const workers = `command=${worker}\nnumprocs=${n}\nprocess_name=w%(process_num)d\nstartsecs=0\nautorestart=true`;
      const head = `nodaemon=true\nuser=root\nlogfile=${dir}/own.log\npidfile=${dir}/pid\nchildlogdir=${dir}\nminfds=4096`;
      const factory = "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface";
      const server = `[unix_http_server]\nfile=${dir}/ctl\n[supervisorctl]\nserverurl=unix://${dir}/ctl\n`;
      const control = `${server}[rpcinterface:supervisor]\n${factory}\n`;
      const conf = file(dir, "supervisor.conf", `[supervisord]\n${head}\n${control}[program:w]\n${workers}\n`);
      return { command: ["supervisord", "-c", conf], env: { BENCH_PORT: `${port}` } };
    },
  },
  "Server::Starter": {
    apt: "libserver-starter-perl",
    // One program per master: more workers come from a pool of masters, which is not its way.
    single: true,
    start: ({ port, worker }) => ({
      command: ["start_server", `--port=127.0.0.1:${port}`, "--interval=0", "--", worker],
    }),
  },
  pm2: {
    npm: "pm2",
    start: ({ n, port, dir, worker }) => {
      const apps = [
        { name: "w", script: worker, interpreter: "none", instances: n, exec_mode: "fork", autorestart: true },
      ];
      const config = file(dir, "ecosystem.json", JSON.stringify({ apps }));
      return { command: [pm2, "start", config], env: { PM2_HOME: dir, BENCH_PORT: `${port}` } };
    },
  },
  gunicorn: {
    apt: "gunicorn",
    start: ({ n, port }) => ({
      command: ["gunicorn", "-b", `127.0.0.1:${port}`, "-w", `${n}`, "--chdir", app(""), "stamped:application"],
    }),
  },
  unicorn: {
    apt: "unicorn",
    start: ({ n, port, dir }) => ({
      command: [
        "unicorn",
        "-c",
        file(dir, "u.rb", `worker_processes ${n}\nlisten "127.0.0.1:${port}"\n`),
        app("stamped.ru"),
      ],
    }),
  },
  puma: {
    apt: "puma",
    start: ({ n, port, dir }) => {
      const config = `workers ${n}\nthreads 1, 1\npreload_app! false\nbind "tcp://127.0.0.1:${port}"\nrackup "${app("stamped.ru")}"\n`;
      return { command: ["puma", "-C", file(dir, "puma.rb", config)] };
    },
  },
  "Node cluster": {
    start: ({ n, port }) => ({ command: [node, app("cluster.cjs"), `${n}`], env: { BENCH_PORT: `${port}` } }),
  },
  s6: {
    apt: "s6",
    start: ({ n, port, dir, worker }) => {
      const scan = join(dir, "scan");
      for (let i = 0; i < n; i++) {
        mkdirSync(join(scan, `w${i}`), { recursive: true });
        file(join(scan, `w${i}`), "run", `#!/bin/sh\nexec ${worker}\n`, 0o755);
      }
      return { command: ["s6-svscan", scan], env: { BENCH_PORT: `${port}` } };
    },
  },
};

/** What can be PID 1 of a container; `start` runs one command below it. */
export const inits = {
  einhorn: { start: (command) => [einhorn, "--no-respawn", "-q", "--", ...command] },
  "C waitpid loop": { start: (command) => [programs.tool, "reaper", ...command] },
  tini: { apt: "tini", start: (command) => ["tini", "--", ...command] },
  "dumb-init": { apt: "dumb-init", start: (command) => ["dumb-init", "--", ...command] },
  catatonit: { apt: "catatonit", start: (command) => ["catatonit", "--", ...command] },
};

for (const [name, peer] of Object.entries(peers)) peer.name = name;

/** Installs what is missing; returns the names of those that cannot be had here, with the reason. */
export function install(wanted) {
  const missing = new Map();
  const all = { ...peers, ...inits };
  for (const name of Object.keys(all)) {
    if (wanted === null || wanted.includes(name) || name.startsWith("C ")) continue;
    missing.set(name, null);
    delete all[name];
  }
  const packages = Object.values(all).flatMap(({ apt }) => apt ?? []);
  const absent = packages.filter((name) => spawnSync("dpkg", ["-s", name]).status !== 0);
  if (absent.length > 0) aptInstall(absent);
  for (const [name, peer] of Object.entries(all)) {
    if (peer.apt && spawnSync("dpkg", ["-s", peer.apt]).status !== 0) missing.set(name, `${peer.apt} is not installed`);
    if (peer.found && !peer.found()) missing.set(name, "not on this machine");
    if (peer.npm && !existsSync(pm2) && !npmInstall(peer.npm)) missing.set(name, `npm install ${peer.npm} failed`);
  }
  return missing;
}

function aptInstall(names) {
  console.error(`bench: installing ${names.join(", ")}`);
  const options = ["install", "-y", "-qq", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"];
  // A package that brings a service is not to start it here.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  spawnSync("apt-get", [...options, ...names], { stdio: ["ignore", "ignore", "inherit"], env });
}

/** The binary of a Node version, from npm; null where it cannot be had. */
export function nodeOf(major) {
  const name = `node-linux-${process.arch}`;
  const program = join(cache, `node${major}`, "node_modules", name, "bin", "node");
  return existsSync(program) || npmInstall(`${name}@${major}`, `node${major}`) ? program : null;
}

function npmInstall(name, folder = name) {
  const cwd = join(cache, folder);
  mkdirSync(cwd, { recursive: true });
  writeFileSync(join(cwd, "package.json"), '{ "private": true }\n');
  const words = ["install", "--no-audit", "--no-fund", "--silent", name];
  // Here, and only here, the certificates that lib.mjs takes away are needed.
  return (
    spawnSync("npm", words, { cwd, stdio: ["ignore", "ignore", "inherit"], env: networkEnv, timeout: 180_000 })
      .status === 0
  );
}
