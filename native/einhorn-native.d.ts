/**
 * The addon's whole surface on one page. One options object per call; thin over the system call of the same name.
 *
 * A failed call throws an Error with `code` (the errno's name, "EADDRINUSE"), `errno` (positive number) and `syscall`.
 * Calls on non-blocking descriptors return -1 for EAGAIN instead; EINTR is retried inside.
 * Descriptors made here are inheritable (no close-on-exec) unless `private` is set: the master's own re-exec
 * must keep them, and `spawn` gives a worker nothing but what it is told to.
 */
export interface Native {
  /** vfork-style; returns when the child has exec'd. An exec that failed throws with its errno (syscall "execve", "chdir", "setrlimit", ...). */
  spawn(o: SpawnOptions): number;
  /**
   * wait4(-1, WNOHANG) until nothing is left to reap or `limit` were taken. `childless` is ECHILD. With `known`, pids in
   * ascending order, only their ends are told; others are `strangers`, reaped and counted. `taken` is all.
   * Without `rearm` (default true) no SIGCHLD comes afterwards: the caller looks again by itself.
   */
  reap(o: { limit: number; known?: Int32Array; rearm?: boolean }): {
    deaths: Reaped[];
    strangers: number;
    taken: number;
    childless: boolean;
  };
  /** execve(2) of this process on the main thread, 0..2 made inheritable; returns only by throwing. Env is "K=V" strings. */
  exec(o: { file: string; args: readonly string[]; env: readonly string[] }): never;

  /**
   * From now on SIGSEGV, SIGBUS, SIGABRT, SIGILL and SIGFPE execute the first of `files` that can be, in this PID, with the
   * caught signals blocked; why is noted in `stateFd` (system/journal.ts). If none can be executed, the signal kills.
   */
  surviveCrashes(o: {
    files: readonly string[];
    args: readonly string[];
    env: readonly string[];
    stateFd: number;
  }): void;

  /** From now on a fault ends the process with this code: everything is closed, and only Node's own end is left. */
  endSurvival(o: { exitCode: number }): void;

  /**
   * Installs handlers that write one 8-byte record {int32 signo, int32 sender pid}, little-endian, to `fd` for each signal caught.
   * SIGCHLD gets one record until the next `reap`: a thousand deaths cannot crowd out a SIGTERM.
   */
  catchSignals(o: { signals: readonly number[]; fd: number }): void;
  /** Blocks them on all threads so that none is lost until the next image calls releaseSignals. */
  holdSignals(o: { signals: readonly number[] }): void;
  /** Ends the hold of hold-signals.so, if it is loaded, and unblocks all signals on this thread; what waited is caught at once. */
  releaseSignals(): void;

  /** Watches `fd`: bit 1 readable, bit 2 writable, 0 forgets it. One epoll set behind one uv_poll handle. Throws EPERM for regular files. */
  watch(o: { fd: number; events: number }): void;
  /** Sets the one callback that gets (fd, events); error and hang-up count as readable. The loop lives while anything is watched. */
  onReady(callback: (fd: number, events: number) => void): void;

  socket(o: { family: number; type: number; protocol?: number; private?: boolean }): number;
  /** socketpair(AF_UNIX, type). Both ends non-blocking. */
  socketPair(o: { type: number; private?: boolean }): [number, number];
  /** [read end, write end]; both non-blocking. */
  pipe(o: { private?: boolean }): [number, number];
  /** `address` is a struct sockaddr as bytes. */
  bind(o: { fd: number; address: Uint8Array }): void;
  connect(o: { fd: number; address: Uint8Array }): void;
  listen(o: { fd: number; backlog: number }): void;
  accept(o: { fd: number }): number;
  getSocketName(o: { fd: number }): Uint8Array;
  setSocketOption(o: { fd: number; level: number; name: number; value: number | Uint8Array }): void;
  getSocketOption(o: { fd: number; level: number; name: number; length: number }): Uint8Array;
  /** SO_ATTACH_REUSEPORT_CBPF; `program` is an array of struct sock_filter as bytes. */
  attachReuseportFilter(o: { fd: number; program: Uint8Array }): void;

  /** Bytes read, 0 at the end, -1 for EAGAIN. With `peek`, of a socket, they stay there for the next read. */
  read(o: { fd: number; buffer: Uint8Array; peek?: boolean }): number;
  write(o: { fd: number; buffer: Uint8Array }): number;
  /**
   * read(2) from `from` and write(2) of the same to `to`; no signal is handled in between. `length` is 0 at the end and -1 for EAGAIN.
   * What nobody can ever take (EPIPE) counts as written. null: `to` takes nothing now (poll(2)), so nothing was read. Lines that
   * fit into half the buffer are whole.
   */
  relay(o: { from: number; to: number; buffer: Uint8Array }): { length: number; written: number } | null;
  /** recvmsg with credentials (SO_PASSCRED must be on): null for EAGAIN. Descriptors passed along (SCM_RIGHTS) are returned, inheritable. */
  receive(o: {
    fd: number;
    buffer: Uint8Array;
  }): { length: number; pid: number; uid: number; gid: number; fds: number[] } | null;
  /** sendmsg with descriptors. Bytes written, or -1 for EAGAIN. */
  send(o: { fd: number; buffer: Uint8Array; fds: readonly number[] }): number;

  memoryFile(o: { name: string; private?: boolean }): number;
  setInheritable(o: { fd: number; inheritable: boolean }): void;
  isInheritable(o: { fd: number }): boolean;
  setNonBlocking(o: { fd: number; nonBlocking: boolean }): void;
  /** flock(LOCK_EX | LOCK_NB): false when another open file holds it. The lock lives through our re-exec. */
  lock(o: { fd: number }): boolean;
  /** poll(2) with timeout 0: the events of `events` (1 readable, 2 writable) that hold now. */
  poll(o: { fd: number; events: number }): number;
  isTerminal(o: { fd: number }): boolean;

  becomeSubreaper(): void;
  setPriority(o: { pid: number; nice: number }): void;
  getResourceLimit(o: { resource: number }): { soft: number; hard: number };
  /** Tells V8 one of the flags that `node --v8-options` lists. V8 says on stderr when it does not know it. */
  setEngineFlag(o: { flag: string }): void;
  /** Has V8 collect all garbage now, and give back the pages that this leaves empty. */
  collectGarbage(): void;
  /** Gives clean file pages of the executable (madvise(MADV_DONTNEED) on segments that are not writable) and what malloc holds unused back to the kernel. */
  trimMemory(): void;
}

export interface SpawnOptions {
  /** Tried in order like execvp(3): ENOENT and ENOTDIR go on, ENOEXEC is run by /bin/sh, EACCES is remembered. */
  files: readonly string[];
  args: readonly string[];
  /** "K=V" strings. The bytes after "LISTEN_PID=" are replaced by the child's own pid. */
  env: readonly string[];
  /** Descriptors that become 3, 4, ... in this order. All others but 0, 1, 2 are closed in the child. */
  fds: readonly number[];
  /** Replaces for 0, 1, 2; null inherits. */
  stdio?: readonly [number | null, number | null, number | null];
  cwd?: string;
  umask?: number;
  uid?: number;
  gid?: number;
  /** Supplementary groups, set when uid or gid is. */
  groups?: readonly number[];
  /** setrlimit(2); -1 is RLIM_INFINITY. */
  limits?: readonly { resource: number; soft: number; hard: number }[];
  nice?: number;
  oomScoreAdj?: number;
  /** PR_SET_PDEATHSIG. */
  deathSignal?: number;
  /** Own process group (default true); false stays in ours. */
  ownGroup?: boolean;
  /** Make the child's group the terminal's foreground group (tcsetpgrp on this descriptor). */
  foregroundOf?: number;
}

export interface Reaped {
  pid: number;
  /** Exit code, or null when a signal ended it. */
  code: number | null;
  /** Signal number, or null when it exited. */
  signal: number | null;
  /** User and system time in ms. */
  cpuMs: number;
  /** At least the master's own: the memory shared until execve counts as the child's (exec_mmap in the kernel). */
  maxRssBytes: number;
}
