/**
 * spawn(): a worker from nothing but what the options say.
 *
 * The child shares our memory until it executes (CLONE_VM | CLONE_VFORK, as posix_spawn(3) does it), so everything is
 * prepared before, and the child makes system calls only. libc's wrappers of setuid and its like are not for it: they would
 * signal the parent's threads (setuid(2), "C library/kernel differences"). Our thread sleeps meanwhile.
 */
#include <fcntl.h>
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

struct Limit {
  int resource;
  uint64_t values[2];  // struct rlimit64
};

/** What the child does, step by step; and in `error` and `step`, how that ended. */
struct Plan {
  char **files, **args, **shellArgs, **env;
  char* listenPid;
  int *fds, *stdio;
  uint32_t fdCount, groupCount, limitCount;
  int* groups;
  Limit* limits;
  const char *cwd, *oomScoreAdj;
  int umask, uid, gid, nice, deathSignal, foregroundOf, parent;
  bool ownGroup, hasNice;
  volatile int error;
  const char* volatile step;
};

void decimal(char* to, unsigned value) {
  char digits[12];
  int n = 0;
  do digits[n++] = static_cast<char>('0' + value % 10);
  while (value /= 10);
  while (n) *to++ = digits[--n];
  *to = 0;
}

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
      plan->shellArgs[1] = *file;
      execve("/bin/sh", plan->shellArgs, plan->env);
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

  if (plan->oomScoreAdj) {
    int file = open("/proc/self/oom_score_adj", O_WRONLY);
    if (file < 0 || write(file, plan->oomScoreAdj, strlen(plan->oomScoreAdj)) < 0) giveUp(plan, "oom_score_adj");
  }
  if (plan->hasNice && setpriority(PRIO_PROCESS, 0, plan->nice) < 0) giveUp(plan, "setpriority");
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
  if (plan->listenPid) decimal(plan->listenPid, static_cast<unsigned>(pid));
  const uint64_t none = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, 8);
  execute(plan);
}

/** Reads the options; everything the child touches is in `call`'s memory. */
void read(Call& call, Plan* plan) {
  plan->files = call.texts("files");
  plan->args = call.texts("args");
  plan->shellArgs = call.texts("args", 1);
  size_t argCount = 0;
  while (plan->args[argCount]) argCount++;
  for (size_t i = argCount; i > 1; i--) plan->shellArgs[i] = plan->shellArgs[i - 1];
  plan->shellArgs[0] = const_cast<char*>("sh");
  plan->env = call.texts("env");
  for (char** item = plan->env; *item; item++) {
    if (strncmp(*item, "LISTEN_PID=", 11) != 0) continue;
    *item = strcpy(call.arena.take<char>(24), "LISTEN_PID=");
    plan->listenPid = *item + 11;
  }
  plan->fds = call.numbers("fds", &plan->fdCount);
  plan->stdio = call.arena.take<int>(3);
  for (uint32_t i = 0; i < 3; i++) plan->stdio[i] = static_cast<int>(Call::number(call.env, call.at(call.get("stdio"), i), -1));
  plan->groups = call.numbers("groups", &plan->groupCount);
  napi_value limits = call.get("limits");
  plan->limitCount = call.count(limits);
  plan->limits = call.arena.take<Limit>(plan->limitCount + 1);
  for (uint32_t i = 0; i < plan->limitCount; i++) {
    napi_value limit = call.at(limits, i);
    plan->limits[i].resource = static_cast<int>(Call::number(call.env, call.get(limit, "resource"), -1));
    plan->limits[i].values[0] = static_cast<uint64_t>(Call::number(call.env, call.get(limit, "soft"), -1));
    plan->limits[i].values[1] = static_cast<uint64_t>(Call::number(call.env, call.get(limit, "hard"), -1));
  }
  plan->cwd = call.text("cwd");
  if (call.has("oomScoreAdj")) {
    char* text = call.arena.take<char>(24);
    snprintf(text, 24, "%d", static_cast<int>(call.number("oomScoreAdj", 0)));
    plan->oomScoreAdj = text;
  }
  plan->umask = call.fd("umask");
  plan->uid = call.fd("uid");
  plan->gid = call.fd("gid");
  plan->hasNice = call.has("nice");
  plan->nice = static_cast<int>(call.number("nice", 0));
  plan->deathSignal = call.fd("deathSignal");
  plan->foregroundOf = call.fd("foregroundOf");
  plan->ownGroup = call.flag("ownGroup", true);
  plan->parent = getpid();
}

Napi::Value spawn(const Napi::CallbackInfo& info) {
  static char* stack = nullptr;
  const size_t stackSize = 64 * 1024;
  Call call(info);
  if (!stack) {
    void* memory = mmap(nullptr, stackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) return call.fail("mmap");
    stack = static_cast<char*>(memory);
  }
  Plan* plan = call.arena.take<Plan>(1);
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
  return Napi::Number::New(info.Env(), pid);
}

}  // namespace

void exportSpawn(Napi::Env env, Napi::Object exports) { addMethod<spawn>(env, exports, "spawn"); }
