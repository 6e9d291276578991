/** What --help and a missing program print. The first line is upstream's: scripts look for it. */
import { type Option, table } from "./table.ts";

const intro = `## Usage

    einhorn [options] [--] program [args...]

Einhorn opens sockets, runs copies of a program in any language that share them, keeps
that many alive, and upgrades them in place without losing a connection. It is made to
be PID 1 of a container.
`;

const hint = `
Run einhorn --help for all options.
`;

const more = `
## Example

Three copies of a server on one port:

    einhorn -b 0.0.0.0:8080 -n 3 -m manual -- ./server

einhornsh talks to a running einhorn: einhornsh upgrade, einhornsh state, einhornsh help.

### Addresses

ADDR is TARGET[,OPT...]. TARGET is IPv4:PORT, [IPv6]:PORT, HOST:PORT, unix:PATH,
udp:IP:PORT, fd:N or fd:NAME. OPT is one of

    r|so_reuseaddr  n|o_nonblock  queues=N|per-worker  v6only  backlog=N  nodelay
    defer_accept=S  fastopen=N  freebind  mode=0660  owner=U[:G]  name=NAME

A worker finds its sockets in EINHORN_FD_COUNT and EINHORN_FD_0, EINHORN_FD_1, ...: they
are descriptors 3, 4, ... in the order of -b (LISTEN_FDS says the same to programs that
know socket activation).

### Where options come from

The command line, the variable EINHORN_OPTS (split as a shell would), and the file of
--config, in this order: what comes first wins. A list, such as -b, replaces the lists
of those that come after.

### Options

`;

export function shortUsage(): string {
  return intro + hint;
}

export function longUsage(): string {
  return intro + more + table.map(describe).join("");
}

const indent = 4;
const helpColumn = 36;
const width = 100;

function describe(option: Option): string {
  const short = option.short === null ? "    " : `-${option.short}, `;
  const names = `${" ".repeat(indent)}${short}--${option.long}${option.value === null ? "" : ` ${option.value}`}`;
  const lines = wrap(option.help, width - helpColumn);
  const first = names.length < helpColumn - 1 ? names.padEnd(helpColumn) + (lines.shift() ?? "") : names;
  return [first, ...lines.map((line) => " ".repeat(helpColumn) + line)].map((line) => `${line}\n`).join("");
}

function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < columns) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
