/**
 * catchSignals(), holdSignals(), releaseSignals(): signals become records in a pipe, and none is lost between two images.
 *
 * Raw system calls where libc's could be hold-signals.c's.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <ucontext.h>

#include "errors.h"

namespace {

struct Record {
  int32_t signal, pid;
};

int recordFd = -1;
/** SIGCHLD says only "look": one unread record is enough, and a thousand deaths cannot crowd out a SIGTERM. */
int sigchldUnread = 0;

void record(int signal, siginfo_t* info, void*) {
  int before = errno;
  if (signal != SIGCHLD || !__atomic_exchange_n(&sigchldUnread, 1, __ATOMIC_SEQ_CST)) {
    Record entry{signal, info->si_pid};
    // A full pipe (8192 records) loses the record; there is nothing better to do in a handler.
    if (write(recordFd, &entry, sizeof entry) < 0 && signal == SIGCHLD) __atomic_store_n(&sigchldUnread, 0, __ATOMIC_SEQ_CST);
  }
  errno = before;
}

uint64_t setOf(Call& call) {
  uint32_t count;
  int* signals = call.integers("signals", &count);
  uint64_t set = 0;
  for (uint32_t i = 0; i < count; i++)
    if (signals[i] >= 1 && signals[i] <= 64) set |= 1ull << (signals[i] - 1);
  return set;
}

Napi::Value catchSignals(Call& call) {
  uint64_t set = setOf(call);
  recordFd = call.fd();
  struct sigaction action {};
  action.sa_sigaction = record;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigfillset(&action.sa_mask);
  for (int signal = 1; signal <= 64; signal++) {
    if (!(set >> (signal - 1) & 1)) continue;
    // musl keeps one real-time signal more to itself than glibc (EINVAL): that one cannot be had there.
    if (sigaction(signal, &action, nullptr) < 0 && !(errno == EINVAL && signal >= 32)) return call.fail("sigaction");
  }
  return call.env.Undefined();
}

/**
 * The signals of holdSignals, put by `blockHere` into the mask of the thread that runs it: a handler's return restores the
 * mask in its context. A thread that is in `record` runs it afterwards (`record` blocks everything), so when all have
 * answered, no record is half written: execve would end the thread and lose that signal.
 */
uint64_t toBlock = 0;
int answers = 0;
const int barrier = SIGURG;  // Nobody else here uses it, and its default is to do nothing.

void blockHere(int, siginfo_t*, void* context) {
  auto mask = reinterpret_cast<uint64_t*>(&static_cast<ucontext_t*>(context)->uc_sigmask);
  *mask |= toBlock;
  __atomic_add_fetch(&answers, 1, __ATOMIC_SEQ_CST);
}

/** True if this thread could run a handler of these signals, or the barrier's. */
bool needsBlock(const char* thread) {
  char path[64], text[2048];
  snprintf(path, sizeof path, "/proc/self/task/%.20s/status", thread);
  FILE* file = fopen(path, "re");
  if (!file) return false;
  size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = 0;
  const char* line = strstr(text, "SigBlk:");
  uint64_t blocked = line ? strtoull(line + 7, nullptr, 16) : 0;
  return (blocked & toBlock) != toBlock && !(blocked >> (barrier - 1) & 1);
}

void blockOnOtherThreads() {
  DIR* threads = opendir("/proc/self/task");
  if (!threads) return;
  struct sigaction action {}, before;
  action.sa_sigaction = blockHere;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigfillset(&action.sa_mask);
  sigaction(barrier, &action, &before);
  long self = syscall(SYS_gettid);
  int asked = 0;
  __atomic_store_n(&answers, 0, __ATOMIC_SEQ_CST);
  while (dirent* entry = readdir(threads)) {
    long thread = strtol(entry->d_name, nullptr, 10);
    if (thread > 0 && thread != self && needsBlock(entry->d_name) && syscall(SYS_tgkill, getpid(), thread, barrier) == 0) asked++;
  }
  closedir(threads);
  // 100 ms at most: a thread that sleeps in the kernel beyond signals runs no handler either.
  for (int i = 0; i < 1000 && __atomic_load_n(&answers, __ATOMIC_SEQ_CST) < asked; i++) {
    timespec pause{0, 100 * 1000};
    nanosleep(&pause, nullptr);
  }
  sigaction(barrier, &before, nullptr);
}

Napi::Value holdSignals(Call& call) {
  toBlock = setOf(call);
  if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, &toBlock, nullptr, 8) < 0) return call.fail("sigprocmask");
  blockOnOtherThreads();
  return call.env.Undefined();
}

Napi::Value releaseSignals(Call& call) {
  if (void* release = dlsym(RTLD_DEFAULT, "einhorn_release_signals")) reinterpret_cast<void (*)()>(release)();
  const uint64_t none = 0;
  return call.done("sigprocmask", syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, 8));
}

}  // namespace

void rearmSigchld() { __atomic_store_n(&sigchldUnread, 0, __ATOMIC_SEQ_CST); }

void exportSignals(Napi::Object exports) {
  add(exports, "catchSignals", catchSignals);
  add(exports, "holdSignals", holdSignals);
  add(exports, "releaseSignals", releaseSignals);
}
