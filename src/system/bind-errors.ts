/** What an operator reads when a bind fails: which one, what the kernel said, and what to do about it. */
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { UserError } from "../errors.ts";
import type { Bind } from "../options.ts";
import { ownerOfPort } from "./socket-owner.ts";

/** An error of the addon's. */
export interface SystemError {
  code: string;
  syscall: string;
  message: string;
}

/** What went wrong with this bind, found by ourselves. */
export function bindProblem(bind: Bind, problem: string): UserError {
  return new UserError("EINHORN_BIND", `Cannot bind ${bind.text}: ${problem}`, 1);
}

/** What the kernel refused. Anything but a failed system call is a bug and passes unchanged. */
export function bindError(bind: Bind, error: unknown): unknown {
  if (error instanceof UserError || !isSystemError(error)) return error;
  return bindProblem(bind, `${error.message}. ${hint(bind, error)}`);
}

export function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && "code" in error && "syscall" in error;
}

function hint(bind: Bind, { code, syscall }: SystemError): string {
  const { target } = bind;
  if (target.kind === "unix") return unixHint(target.path, code);
  if (target.kind === "fd" || target.kind === "fd-name")
    return "Pass a listening socket, as systemd or another einhorn does.";
  switch (code) {
    case "EADDRINUSE": {
      const owner = ownerOfPort(target.kind, target.port);
      const who = owner
        ? `It belongs to ${owner}`
        : `Somebody else has it (ss -lnp 'sport = :${target.port}' as root shows who)`;
      if (owner === "this einhorn itself") return "Two binds ask for the same port: remove one.";
      return `${who}: stop that, or choose another port. Port 0 takes a free one.`;
    }
    case "EACCES":
    case "EPERM":
      return target.port < firstUnprivilegedPort()
        ? `Ports below ${firstUnprivilegedPort()} are for root: choose a higher one, give CAP_NET_BIND_SERVICE, or lower net.ipv4.ip_unprivileged_port_start.`
        : "A security policy (seccomp, SELinux, AppArmor) forbids it.";
    case "EADDRNOTAVAIL":
      return `No interface here has the address ${target.host}: inside a container that is usually 0.0.0.0 or [::]; the option freebind binds an address that comes later.`;
    case "EAFNOSUPPORT":
      return "This kernel or container has no IPv6: bind 0.0.0.0 instead.";
    case "EMFILE":
    case "ENFILE":
      return "There are too many open files: raise the limit (ulimit -n).";
    case "EINVAL":
      return target.host.startsWith("fe80") ? "A link-local address needs its interface: fe80::1%eth0." : "";
    case "ENOPROTOOPT":
      return `This kernel does not know an option of this bind (${syscall}).`;
    default:
      return "";
  }
}

function unixHint(path: string, code: string): string {
  switch (code) {
    case "ENOENT":
      return `The folder ${dirname(path)} does not exist: create it, or mount it into the container.`;
    case "ENOTDIR":
      return `A part of ${dirname(path)} is no folder.`;
    case "EACCES":
    case "EPERM":
      return `This user (uid ${process.getuid?.()}) may not do that there: give it the folder ${dirname(path)}, or choose another path.`;
    case "EROFS":
      return "The file system is read-only: mount a volume or a tmpfs there, or use unix:@name, which needs no file.";
    case "EADDRINUSE":
      return "Something made that path just now: is a second einhorn starting?";
    default:
      return "";
  }
}

function firstUnprivilegedPort(): number {
  try {
    return Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8"));
  } catch {
    return 1024;
  }
}
