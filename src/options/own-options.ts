/** The options that are ours. */
import { account } from "./accounts.ts";
import { httpAddress } from "./address.ts";
import { limit } from "./limits.ts";
import { type Option, option } from "./option.ts";
import * as read from "./values.ts";

export const ownOptions: readonly Option[] = [
  option(
    "--config",
    "FILE",
    "YAML file of options, keys are the long names; read again at reload and upgrade",
    (o, v) => (o.configFile = read.nonEmpty(v)),
    { argvOnly: true },
  ),
  option(
    "--http",
    "ADDR",
    "Serve /livez /readyz /startupz /metrics /status there: IP:PORT or unix:PATH",
    (o, v) => (o.http = httpAddress(v)),
  ),
  option(
    "--ready-min",
    "N|N%",
    "Ready workers that /readyz needs (100%)",
    (o, v) => (o.config.readyMin = read.quorum(v)),
  ),
  option(
    "--ack-timeout",
    "S",
    "A worker that is not up after S seconds is stopped (off)",
    (o, v) => (o.config.ackTimeoutMs = read.secondsAboveZero(v)),
  ),
  option(
    "--graceful-signal",
    "auto|SIGNAL",
    "What asks a worker to finish; auto: USR2 if it catches that, else TERM (auto)",
    (o, v) => (o.config.gracefulSignal = read.gracefulSignal(v)),
  ),
  option(
    "--drain-delay",
    "S",
    "On stop be unready at once, and signal the workers S seconds later (0)",
    (o, v) => (o.config.drainDelayMs = read.secondsFromZero(v)),
  ),
  option(
    "--grace-period",
    "S",
    "On stop SIGKILL what is left after S seconds, drain delay included (off)",
    (o, v) => (o.config.gracePeriodMs = read.secondsAboveZero(v)),
  ),
  option(
    "--upgrade-timeout",
    "S",
    "Abort an upgrade that takes longer (off)",
    (o, v) => (o.config.upgradeTimeoutMs = read.secondsAboveZero(v)),
  ),
  option(
    "--upgrade-max-deaths",
    "N",
    "Abort an upgrade whose new workers die N times before or just after their ACK (3)",
    (o, v) => (o.config.upgradeMaxDeaths = read.count(v)),
  ),
  option(
    "--give-up-after",
    "N",
    "Exit with a worker's status after N deaths in a row before they were up (off)",
    (o, v) => (o.config.giveUpAfter = read.count(v)),
  ),
  option(
    "--no-respawn",
    null,
    "Run once; exit with the first status that is not 0, else 0",
    (o) => (o.config.respawn = false),
  ),
  option(
    "--watchdog",
    "S",
    "Replace a worker that did not send WATCHDOG=1 for S seconds; needs -m notify (off)",
    (o, v) => (o.config.watchdogMs = read.secondsAboveZero(v)),
  ),
  option(
    "--max-rss",
    "BYTES",
    "Replace a worker that grew past this; K, M, G (off)",
    (o, v) => (o.config.maxRssBytes = read.size(v)),
  ),
  option(
    "--max-age",
    "S",
    "Replace a worker that is older than this (off)",
    (o, v) => (o.config.maxAgeMs = read.secondsAboveZero(v)),
  ),
  option(
    "--worker-user",
    "USER[:GROUP]",
    "Run workers as this user",
    (o, v, c) => (o.worker.user = account(v, c.readFile)),
  ),
  option("--chdir", "DIR", "Run workers in DIR", (o, v) => (o.worker.chdir = read.nonEmpty(v))),
  option("--umask", "OCTAL", "Umask of workers", (o, v) => (o.worker.umask = read.octal(v))),
  option(
    "--rlimit",
    "NAME=SOFT[:HARD]",
    "Resource limit of workers, such as nofile=1024:4096; repeatable",
    (o, v) => (o.worker.limits = [...o.worker.limits, limit(v)]),
    { clear: (o) => (o.worker.limits = []) },
  ),
  option(
    "--oom-score-adj",
    "N",
    "OOM score adjustment of workers, -1000 to 1000",
    (o, v) => (o.worker.oomScoreAdj = read.wholeNumber(v, -1000, 1000)),
  ),
  option(
    "--env-file",
    "FILE",
    "KEY=VALUE lines for the workers' environment",
    (o, v) => (o.worker.envFile = read.nonEmpty(v)),
  ),
  option(
    "--capture-stderr",
    null,
    "Relay each worker's stderr and keep its last lines for the report of its death",
    (o) => (o.captureStderr = true),
  ),
  option(
    "--log-format",
    "text|json",
    "Form of the master's log on stderr (text)",
    (o, v) => (o.logFormat = read.oneOf(v, ["text", "json"])),
  ),
];
