/** How a master comes to be: started for the first time, taking over from the image before, or only proving that it could. */
import { closeSync } from "node:fs";
import { crashWindowMs } from "./core/crash.ts";
import { decodeState } from "./core/handover.ts";
import { initialState } from "./core/initial.ts";
import type { Launch } from "./core/model.ts";
import { launchOf } from "./core/upgrade.ts";
import { UserError } from "./errors.ts";
import { documentFrom, pendingIn } from "./keeping.ts";
import type { Shell } from "./master/shell.ts";
import { type Exit, Master } from "./master.ts";
import { mergeReconfigured, type Options, readInvocation } from "./options.ts";
import { isSystemError } from "./system/bind-errors.ts";
import { now } from "./system/clock.ts";
import { tuneEngine } from "./system/engine.ts";
import { removeFiles, takeOver } from "./system/files.ts";
import { logicalCwd, originalNofile, readLaunch, setNice } from "./system/launch.ts";
import { closeListeners, type Listener, openListeners } from "./system/listeners.ts";
import { native } from "./system/native.ts";
import { preloadAfterCrash } from "./system/preload.ts";
import { openHttp, rebind, rebindHttp } from "./system/rebinding.ts";
import { readDocument, verdict } from "./system/reexec.ts";
import { withoutHold } from "./system/signals.ts";
import { isStill } from "./system/strays.ts";
import { readCrash } from "./system/survival.ts";
import { build } from "./version.ts";

/** Without the connections that were closed after they were written down. */
function afterCrash(control: Shell["control"], socketPath: string): Shell["control"] {
  return { ...control, connections: control.connections.filter((connection) => isStill(connection, socketPath)) };
}

/** First start: everything is opened before the first worker is started, and nothing is left behind when something fails. */
export async function startMaster(
  options: Options,
  { argv, exit }: { argv: readonly string[]; exit: Exit },
): Promise<void> {
  const cwd = logicalCwd();
  const launch = readLaunch(options, cwd);
  tuneEngine();
  // Before anything is opened, the lockfile included, which nobody removes.
  if (options.masterNice !== null) setNice(options.masterNice);
  const listeners = await openListeners(options.binds, options.config.backlog);
  let taken: Awaited<ReturnType<typeof takeOver>>;
  let http: Listener | null = null;
  try {
    http = await openHttp(options);
    taken = await takeOver({ ...options, owner: options.worker.user, tmpdir: process.env.TMPDIR });
  } catch (error) {
    closeListeners(http === null ? listeners : [...listeners, http]);
    throw error;
  }
  try {
    const master = new Master(options, exit, {
      argv,
      build,
      options,
      configured: options.config,
      cwd,
      listeners,
      http: http === null ? null : { listener: http, connections: [] },
      control: { listener: taken.files.listener, nextId: 1, connections: [] },
      files: taken.files,
      signals: null,
      nofile: originalNofile(),
      log: "",
      crashes: [],
    });
    for (const note of taken.notes) master.note(note);
    if (process.pid !== 1) adoptOrphans((message) => master.complain(message));
    const seed = (process.pid * 2654435761 + Date.now()) >>> 0 || 1;
    master.run(initialState(options.config, master.about(), launch, seed), {
      kind: "booted",
      about: master.about(),
      launch,
    });
  } catch (error) {
    closeListeners(http === null ? listeners : [...listeners, http]);
    removeFiles(taken.files);
    if (!isSystemError(error)) throw error;
    throw new UserError("EINHORN_START", `Cannot start: ${error.message}`, 1);
  }
}

function adoptOrphans(complain: (message: string) => void): void {
  try {
    native.becomeSubreaper();
  } catch (error) {
    complain(`What workers leave behind goes to init instead of to this master: ${(error as Error).message}`);
  }
}

/**
 * Takes over from the image before; what happened meanwhile is found in the descriptors and by reaping. There is no way
 * back from here: what cannot be read or opened any more is said, and the image goes on with what the one before had.
 */
export async function resumeMaster(stateFd: number, { exit }: { exit: Exit }): Promise<void> {
  tuneEngine();
  const crash = readCrash(stateFd);
  const document = crash === null ? readDocument(stateFd) : documentFrom(crash.parts);
  closeSync(stateFd);
  const { shell } = document as { shell: Shell };
  const troubles: string[] = [];
  const trouble = (error: unknown) => troubles.push(error instanceof Error ? error.message : String(error));
  const options = await readOptions(shell).catch((error: unknown) => {
    trouble(error);
    return shell.options;
  });
  const state = decodeState(document, options.config);
  const listeners = await rebind(shell.listeners, options, trouble);
  const http = await rebindHttp(shell.http, options, trouble);
  const config = mergeReconfigured(shell.configured, options.config, state.config);
  const crashes = [...(shell.crashes ?? []), ...(crash === null ? [] : [now()])];
  const recent = crashes.filter((at) => at > now() - crashWindowMs);
  const live = options.preload === null ? null : (shell.preload ?? null);
  const preload = crash === null ? live : preloadAfterCrash(live, state);
  const control = crash === null ? shell.control : afterCrash(shell.control, shell.files.socketPath);
  const inherited = {
    ...shell,
    build,
    control,
    listeners,
    http,
    preload,
    options,
    configured: options.config,
    crashes: recent,
  };
  const master = new Master(options, exit, inherited);
  for (const message of troubles) master.complain(message);
  process.env = withoutHold(process.env as Record<string, string>);
  master.closeStrangers(crash !== null);
  if (crash !== null) {
    return master.runOrCrash({ ...state, config }, master.crashed(state, crash.note), pendingIn(crash.parts));
  }
  const launch = launchOr(options, shell, launchOf(state), trouble);
  master.runOrCrash({ ...state, config }, { kind: "reexeced", execMs: shell.execMs, about: master.about(), launch });
}

/**
 * The proof before a re-exec: everything that taking over needs and that can be tried without harm, sockets of new binds
 * included. Throws a UserError.
 */
export async function checkMaster(stateFd: number): Promise<string> {
  const document = readDocument(stateFd);
  const { shell } = document as { shell: Shell };
  const options = await readOptions(shell);
  decodeState(document, options.config);
  const launch = readLaunch(options, shell.cwd);
  const bound = new Set(shell.listeners.map(({ text }) => text));
  const fresh = options.binds.filter(({ text }) => !bound.has(text));
  closeListeners(await openListeners(fresh, options.config.backlog));
  return verdict(isLikeBefore(shell, options) ? launch : null);
}

/** Would workers be started the same way by the image that runs? What --reexec-as does to them on the way, nobody knows. */
function isLikeBefore(shell: Shell, options: Options): boolean {
  return (
    build !== null &&
    shell.build === build &&
    options.reexecAs === null &&
    JSON.stringify(options) === JSON.stringify(shell.options)
  );
}

async function readOptions(shell: Shell): Promise<Options> {
  const invocation = await readInvocation({ argv: shell.argv, env: process.env, cwd: shell.cwd });
  if (invocation.kind === "run") return invocation.options;
  throw new UserError("EINHORN_BAD_STATE", "the state document has no usable command line");
}

function launchOr(options: Options, shell: Shell, before: Launch, trouble: (error: unknown) => void): Launch {
  try {
    return readLaunch(options, shell.cwd);
  } catch (error) {
    trouble(error);
    return before;
  }
}
