/**
 * spawn(): a worker from nothing but what the options say.
 *
 * The child shares our memory until it executes (CLONE_VM | CLONE_VFORK, as posix_spawn(3) does it), so everything is
 * prepared before, and the child makes system calls only. libc's wrappers of setuid and its like are not for it: they would
 * signal the parent's threads (setuid(2), "C library/kernel differences"). Our thread sleeps meanwhile.
 */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "errors.h"

namespace {

const int pidDigits = 10;

struct Limit {
  int resource;
  int64_t values[2];  // struct rlimit64; RLIM_INFINITY is -1
};

/** What the child does, step by step; and in `error` and `step`, how that ended. */
struct Plan {
  char **files, **args, **env;
  char* listenPid;
  int *fds, *stdio;
  uint32_t fdCount, groupCount, limitCount;
  int* groups;
  Limit* limits;
  const char* cwd;
  char oomScoreAdj[16];
  int umask, uid, gid, nice, deathSignal, foregroundOf, parent;
  bool ownGroup;
  volatile int error;
  const char* volatile step;
};

/** Ends the child; the parent reads what failed. */
[[noreturn]] void giveUp(Plan* plan, const char* step) {
  plan->error = errno;
  plan->step = step;
  for (;;) syscall(SYS_exit_group, 127);
}

/** For kernels and sandboxes without close_range(2). */
void closeFromSlowly(int first) {
  int list = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
  alignas(8) char entries[2048];
  long length;
  while (list >= 0 && (length = syscall(SYS_getdents64, list, entries, sizeof entries)) > 0)
    for (long at = 0; at < length; at += *reinterpret_cast<unsigned short*>(entries + at + 16)) {
      int fd = 0;
      for (char* name = entries + at + 19; *name >= '0' && *name <= '9'; name++) fd = fd * 10 + *name - '0';
      if (fd >= first && fd != list) close(fd);
    }
  if (list >= first) close(list);
  for (int fd = first; list < 0 && fd < 65536; fd++) close(fd);
}

/** Gives 0, 1, 2 and 3.. what the plan says. First all go above the range, so that none is overwritten while still needed. */
void arrangeDescriptors(Plan* plan) {
  int first = 3 + static_cast<int>(plan->fdCount);
  for (int i = 0; i < first; i++) {
    int* fd = i < 3 ? &plan->stdio[i] : &plan->fds[i - 3];
    if (*fd >= 0 && (*fd = fcntl(*fd, F_DUPFD, first)) < 0) giveUp(plan, "dup");
  }
  for (int i = 0; i < first; i++) {
    int fd = i < 3 ? plan->stdio[i] : plan->fds[i - 3];
    if (fd >= 0 && dup2(fd, i) < 0) giveUp(plan, "dup2");
    if (fd < 0) fcntl(i, F_SETFD, 0);  // Node sets close-on-exec on 0, 1 and 2.
  }
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
  if (syscall(SYS_close_range, first, ~0u, 0) < 0) closeFromSlowly(first);
}

void changeUser(Plan* plan) {
  if (plan->uid < 0 && plan->gid < 0) return;
  bool same = (plan->uid < 0 || plan->uid == syscall(SYS_geteuid)) && (plan->gid < 0 || plan->gid == syscall(SYS_getegid));
  // Somebody who is that user already may be anyone; that they may not change their groups is then no error.
  if (syscall(SYS_setgroups, plan->groupCount, plan->groups) < 0 && !(same && errno == EPERM)) giveUp(plan, "setgroups");
  if (plan->gid >= 0 && syscall(SYS_setresgid, plan->gid, plan->gid, plan->gid) < 0) giveUp(plan, "setresgid");
  if (plan->uid >= 0 && syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid) < 0) giveUp(plan, "setresuid");
}

/** execvp(3)'s rules over the candidates. */
[[noreturn]] void execute(Plan* plan) {
  errno = ENOENT;
  bool denied = false;
  for (char** file = plan->files; *file; file++) {
    execve(*file, plan->args, plan->env);
    if (errno == ENOEXEC) {
      // "sh", the file, the arguments: the vector has a place before its first.
      plan->args[-1] = const_cast<char*>("sh");
      plan->args[0] = *file;
      execve("/bin/sh", plan->args - 1, plan->env);
      errno = ENOEXEC;
    }
    if (errno == EACCES) denied = true;
    else if (errno != ENOENT && errno != ENOTDIR) break;
  }
  if (denied && (errno == ENOENT || errno == ENOTDIR)) errno = EACCES;
  giveUp(plan, "execve");
}

int child(void* argument) {
  Plan* plan = static_cast<Plan*>(argument);
  int pid = static_cast<int>(syscall(SYS_getpid));
  if (plan->ownGroup && setpgid(0, 0) < 0) giveUp(plan, "setpgid");
  // No SIGTTOU: it is still blocked here.
  if (plan->foregroundOf >= 0 && ioctl(plan->foregroundOf, TIOCSPGRP, &pid) < 0) giveUp(plan, "tcsetpgrp");
  // Raw: libc refuses its own real-time signals, and hold-signals.c refuses ours. All zeros is SIG_DFL.
  const uint64_t standard[4] = {0, 0, 0, 0};
  for (int signal = 1; signal <= 64; signal++) syscall(SYS_rt_sigaction, signal, standard, nullptr, 8);

  if (*plan->oomScoreAdj) {
    int file = open("/proc/self/oom_score_adj", O_WRONLY);
    if (file < 0 || write(file, plan->oomScoreAdj, strlen(plan->oomScoreAdj)) < 0) giveUp(plan, "oom_score_adj");
  }
  if (plan->nice != INT_MIN && setpriority(PRIO_PROCESS, 0, plan->nice) < 0) giveUp(plan, "setpriority");
  arrangeDescriptors(plan);
  // After the descriptors: a lower RLIMIT_NOFILE must not stand in their way. Before the user: only root raises.
  for (uint32_t i = 0; i < plan->limitCount; i++)
    if (syscall(SYS_prlimit64, 0, plan->limits[i].resource, plan->limits[i].values, nullptr) < 0) giveUp(plan, "setrlimit");
  // Root enters a directory that only root may; the user one that root may not (NFS).
  bool moved = !plan->cwd || chdir(plan->cwd) == 0;
  if (!moved && errno != EACCES) giveUp(plan, "chdir");
  changeUser(plan);
  if (!moved && chdir(plan->cwd) < 0) giveUp(plan, "chdir");
  if (plan->umask >= 0) umask(static_cast<mode_t>(plan->umask));
  if (plan->deathSignal > 0) {
    // Last, for a change of user clears it (prctl(2)); and a parent that died before is not told of.
    if (prctl(PR_SET_PDEATHSIG, plan->deathSignal, 0, 0, 0) < 0) giveUp(plan, "prctl");
    if (syscall(SYS_getppid) != plan->parent) syscall(SYS_exit_group, 127);
  }
  if (plan->listenPid) {
    char* digit = plan->listenPid + pidDigits;
    for (int rest = pid; rest > 0; rest /= 10) *--digit = static_cast<char>('0' + rest % 10);
    memmove(plan->listenPid, digit, static_cast<size_t>(plan->listenPid + pidDigits + 1 - digit));
  }
  const uint64_t none = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, 8);
  execute(plan);
}

/** Reads the options; everything the child touches is in `call`'s memory. */
void read(Call& call, Plan* plan) {
  plan->files = call.texts("files");
  plan->args = call.texts("args");
  plan->env = call.texts("env");
  for (char** item = plan->env; *item; item++) {
    if (strncmp(*item, "LISTEN_PID=", 11) != 0) continue;
    *item = strcpy(call.take<char>(11 + pidDigits + 1), "LISTEN_PID=");
    plan->listenPid = *item + 11;
  }
  plan->fds = call.integers("fds", &plan->fdCount);
  plan->stdio = call.take<int>(3);
  for (uint32_t i = 0; i < 3; i++) plan->stdio[i] = static_cast<int>(call.toNumber(call.at(call.get("stdio"), i)));
  plan->groups = call.integers("groups", &plan->groupCount);
  napi_value limits = call.get("limits");
  plan->limitCount = call.count(limits);
  plan->limits = call.take<Limit>(plan->limitCount + 1);
  for (uint32_t i = 0; i < plan->limitCount; i++) {
    napi_value limit = call.at(limits, i);
    plan->limits[i] = {static_cast<int>(call.toNumber(call.get(limit, "resource"))),
                       {call.toNumber(call.get(limit, "soft")), call.toNumber(call.get(limit, "hard"))}};
  }
  plan->cwd = call.text("cwd");
  const int none = INT_MIN;
  if (int score = call.integer("oomScoreAdj", none); score != none) snprintf(plan->oomScoreAdj, sizeof plan->oomScoreAdj, "%d", score);
  plan->umask = call.integer("umask");
  plan->uid = call.integer("uid");
  plan->gid = call.integer("gid");
  plan->nice = call.integer("nice", none);
  plan->deathSignal = call.integer("deathSignal");
  plan->foregroundOf = call.integer("foregroundOf");
  plan->ownGroup = call.flag("ownGroup", true);
  plan->parent = getpid();
}

Napi::Value spawn(Call& call) {
  static char* stack = nullptr;
  const size_t stackSize = 64 * 1024;
  if (!stack) {
    void* memory = mmap(nullptr, stackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) return call.fail("mmap");
    stack = static_cast<char*>(memory);
  }
  Plan* plan = call.take<Plan>(1);
  read(call, plan);

  // No handler of ours may run in the child, which would write to our signal socket.
  const uint64_t all = ~0ull;
  uint64_t before = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
  int pid = clone(child, stack + stackSize, CLONE_VM | CLONE_VFORK | SIGCHLD, plan);
  int error = pid < 0 ? errno : plan->error;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, 8);
  if (pid < 0) return call.fail("clone", error);
  if (error) {
    int status;
    retry([&] { return waitpid(pid, &status, 0); });
    return call.fail(plan->step, error);
  }
  return call.value(pid);
}

}  // namespace

void exportSpawn(Napi::Object exports) { add(exports, "spawn", spawn); }
