#!/usr/bin/env node
/**
 * Does a compiled object load under every libc? It must name no library, no symbol version, and no symbol but those below,
 * which Node itself, glibc since 2.17 and musl all have. `node bundle/check.mjs FILE...`
 */
import { spawnSync } from "node:child_process";

const allowed = new Set(
  `__errno_location abort accept4 bind calloc chdir clock_gettime clone close closedir connect dl_iterate_phdr dlsym dup2 epoll_create1
  epoll_ctl epoll_wait execve fclose fcntl flock fopen fread free getpid getsockname getsockopt ioctl isatty listen madvise
  memchr memcmp memcpy memmove memset mmap nanosleep open opendir pipe2 poll prctl pwrite read readdir realloc recvmsg sendmsg setpgid
  setpriority setsockopt sigaction sigaltstack sigfillset signal snprintf socket socketpair strcat strchr strcpy strerror strlen strncat
  strncmp strstr strtol strtoull syscall sysconf umask vsnprintf wait4 waitpid write
  uv_handle_size uv_poll_init uv_poll_start uv_ref uv_unref`.split(/\s+/),
);

/** What is wrong with `file`, one sentence each; empty when nothing is. */
export function check(file) {
  const result = spawnSync("readelf", ["--wide", "--dynamic", "--version-info", "--dyn-syms", file], {
    encoding: "utf8",
  });
  if (result.error || result.status !== 0) return [`readelf failed: ${result.error?.message ?? result.stderr.trim()}`];
  const faults = [];
  for (const [, library] of result.stdout.matchAll(/\(NEEDED\).*\[(.*)\]/g))
    faults.push(`it needs the library ${library}`);
  if (/Version needs section/.test(result.stdout)) faults.push("it asks for symbol versions");
  for (const [, symbol] of result.stdout.matchAll(/ UND (\S+)/g)) {
    const name = symbol.replace(/@.*/, "");
    if (!allowed.has(name) && !name.startsWith("napi_")) faults.push(`it needs the symbol ${name}`);
  }
  return faults;
}

if (process.argv[1] === import.meta.filename) {
  const files = process.argv.slice(2);
  if (files.length === 0) {
    console.error("Usage: node bundle/check.mjs FILE...");
    process.exitCode = 2;
  }
  for (const file of files) {
    const faults = check(file);
    console.log(faults.length === 0 ? `${file}: ok` : [`${file}:`, ...faults].join("\n  "));
    if (faults.length > 0) process.exitCode = 1;
  }
}
