/** The state as others see it: `status`, `state` in upstream's form, readiness, figures. Pure functions of the state. */
import * as messages from "./messages.ts";
import type { Death, Millis, Mode, State, Worker } from "./model.ts";
import { census, isPoolReady, isStopping, quorum, readyCount } from "./pool.ts";
import { rubyTime } from "./ruby-time.ts";

export interface Readiness {
  ok: boolean;
  ready: number;
  needed: number;
  number: number;
  stopping: boolean;
}

export function readiness(state: State): Readiness {
  return {
    ok: isPoolReady(state),
    ready: readyCount(state),
    needed: quorum(state),
    number: state.config.number,
    stopping: isStopping(state),
  };
}

/** What `status --json` and /status give; part of the interface, so names stay. */
export function statusData(state: State, now: Millis): Record<string, unknown> {
  const { about, mode } = state;
  return {
    pid: about.pid,
    version: about.version,
    commandName: about.commandName,
    socketPath: about.socketPath,
    command: about.argv,
    upMs: Math.round(now - state.startedAt),
    mode: mode.kind,
    generation: state.generation,
    ...readiness(state),
    reexecs: state.counters.reexecs,
    crashes: state.counters.crashes,
    orphansReaped: state.counters.orphans,
    preload: about.preload,
    upgrade: upgradeData(mode, now),
    lastUpgrade: state.lastUpgrade,
    sockets: about.binds,
    workers: state.workers.map((worker) => workerData(worker, now)),
    recentDeaths: state.recentDeaths.map((death) => ({
      ...death,
      at: undefined,
      agoMs: Math.round(now - death.at),
      upMs: Math.round(death.upMs),
      text: messages.death(death) + messages.lastWords(death),
    })),
  };
}

function upgradeData(mode: Mode, now: Millis): Record<string, unknown> | null {
  if (mode.kind !== "upgrading") return null;
  const { upgrade } = mode;
  return {
    strategy: upgrade.strategy,
    from: upgrade.from,
    forMs: Math.round(now - upgrade.startedAt),
    deaths: upgrade.deaths,
    paused: upgrade.paused,
    canary: upgrade.canary,
    canaryPassed: upgrade.canaryPassed,
  };
}

function workerData(worker: Worker, now: Millis): Record<string, unknown> {
  return {
    pid: worker.pid,
    slot: worker.slot,
    generation: worker.generation,
    phase: worker.phase.kind,
    upMs: Math.round(now - worker.spawnedAt),
    ackMs: worker.ackMs === null ? null : Math.round(worker.ackMs),
    status: worker.status,
    signals: worker.signals.map(({ signal }) => signal),
    rssBytes: worker.rssBytes,
    recycle: worker.recycle?.reason ?? null,
  };
}

export function statusText(state: State, now: Millis): string {
  const { about } = state;
  const lines = [
    `einhorn ${about.version} pid ${about.pid}${about.commandName === null ? "" : ` (${about.commandName})`}: ${headline(state)}`,
    `command: ${about.argv.join(" ")}`,
    ...about.binds.map((bind) => `socket: ${bind.address} as descriptor ${bind.workerFd}`),
    ...(about.preload === null
      ? []
      : [`preload: ${about.preload.path} ${about.preload.active ? "active" : `not in use: ${about.preload.reason}`}`]),
    ...state.workers.map((worker) => workerLine(worker, now)),
  ];
  const { lastUpgrade } = state;
  if (lastUpgrade !== null) {
    const reason = lastUpgrade.reason === null ? "" : `: ${lastUpgrade.reason}`;
    lines.push(
      `last upgrade: generation ${lastUpgrade.generation} ${lastUpgrade.result} in ${messages.duration(lastUpgrade.tookMs)}${reason}`,
    );
  }
  const unexpected = state.recentDeaths.filter((death: Death) => !death.expected).slice(-5);
  for (const death of unexpected)
    lines.push(`${messages.duration(now - death.at)} ago: ${messages.death(death)}${messages.lastWords(death)}`);
  return lines.join("\n");
}

function headline(state: State): string {
  const count = census(state);
  const ready = `${readyCount(state)} of ${state.config.number} workers ready, generation ${state.generation}`;
  switch (state.mode.kind) {
    case "running":
      return ready;
    case "upgrading":
      return `upgrading${state.mode.upgrade.paused ? " (paused)" : ""}: ${count.current.ready} of ${state.config.number} new workers ready, ${count.stale.serving} old ones serving`;
    case "stopping":
    case "sweeping":
    case "gone":
      return `stopping, ${state.workers.length} workers left`;
  }
}

function workerLine(worker: Worker, now: Millis): string {
  const rss = worker.rssBytes === null ? "" : ` rss=${Math.round(worker.rssBytes / 2 ** 20)}MiB`;
  const status = worker.status === null ? "" : ` "${worker.status}"`;
  return `${messages.worker(worker)} ${worker.phase.kind} up=${messages.duration(now - worker.spawnedAt)}${rss}${status}`;
}

/**
 * The `state` command: YAML as the Ruby program's YAML.dump of its state hash, with symbols for keys, so that its clients
 * and monitors read it (lib/einhorn.rb default_state, lib/einhorn/command.rb dumpable_state). Strings are written as
 * JSON strings, which are YAML double-quoted scalars. `wallMs` is the time of day now, in ms since 1970.
 */
export function upstreamState(state: State, now: Millis, wallMs: number): string {
  const { about, config, mode } = state;
  const children = Object.fromEntries(
    state.workers.flatMap((worker) =>
      worker.pid === null ? [] : [[String(worker.pid), upstreamChild(worker, now, wallMs)] as const],
    ),
  );
  const { ackMode } = config;
  const document = {
    ":state": {
      ":children": children,
      ":config": { ":number": config.number, ":backlog": config.backlog, ":seconds": config.respawnMs / 1000 },
      ":version": state.generation,
      ":generation": state.counters.reexecs,
      ":bind": about.binds.map((bind) => [bind.text, bind.address]),
      ":bind_fds": about.binds.map((bind) => bind.workerFd),
      ":bound_ports": about.binds.map((bind) => bind.port),
      ":cmd": about.argv,
      ":orig_cmd": about.argv,
      ":cmd_name": about.commandName,
      ":socket_path": about.socketPath,
      ":respawn": config.respawn && !isStopping(state),
      ":upgrading": mode.kind === "upgrading",
      ":smooth_upgrade": mode.kind === "upgrading" && mode.upgrade.strategy === "smooth",
      ":reloading_for_upgrade": state.handover !== null,
      ":ack_mode":
        ackMode.kind === "timer"
          ? { ":type": symbol("timer"), ":timeout": ackMode.ms / 1000 }
          : { ":type": symbol(ackMode.kind) },
      ":consecutive_deaths_before_ack": state.deathsInRow,
      ":signal_timeout": config.signalTimeoutMs === null ? null : config.signalTimeoutMs / 1000,
      ":max_unacked": config.maxUnacked,
      ":max_upgrade_additional": config.maxUpgradeAdditional,
      ":preloaded": about.preload?.active ?? false,
    },
    ":persistent_descriptors": [],
  };
  return `---\n${yaml(document, "")}`;
}

interface PlainScalar {
  plain: string;
}

interface RubySymbol {
  symbol: string;
}
const symbol = (name: string): RubySymbol => ({ symbol: name });
const plain = (text: string): PlainScalar => ({ plain: text });

function upstreamChild(worker: Worker, now: Millis, wallMs: number): Record<string, unknown> {
  const time = (at: Millis | undefined) => (at === undefined ? null : plain(rubyTime(wallMs - (now - at))));
  return {
    ":type": symbol("worker"),
    ":version": worker.generation,
    ":acked": worker.ackMs !== null,
    ":signaled": worker.signals.map(({ signal }) => signal.replace(/^SIG/, "")),
    ":last_signaled_at": time(worker.signals.at(-1)?.at),
    ":index": worker.slot,
    ":spinup_time": Math.round(now - worker.spawnedAt) / 1000,
    ":pinged_at": time(worker.pinged?.at),
    ":pinged_request_id": worker.pinged?.requestId ?? null,
  };
}

/** Block YAML for the mappings, lists and scalars above; nothing else comes here. */
function yaml(value: object, indent: string): string {
  return Object.entries(value)
    .map(([key, item]) => `${indent}${key}:${yamlValue(item, indent)}\n`)
    .join("");
}

function yamlValue(item: unknown, indent: string): string {
  if (item === null || item === undefined) return "";
  if (Array.isArray(item))
    return ` [${item.map((entry) => (Array.isArray(entry) ? `[${entry.map(yamlScalar).join(", ")}]` : yamlScalar(entry))).join(", ")}]`;
  if (typeof item !== "object") return ` ${yamlScalar(item)}`;
  if ("plain" in item) return ` ${String(item.plain)}`;
  if ("symbol" in item) return ` :${String(item.symbol)}`;
  return Object.keys(item).length === 0 ? " {}" : `\n${yaml(item, `${indent}  `)}`.trimEnd();
}

function yamlScalar(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value ?? "null");
}
