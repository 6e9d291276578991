/**
 * catchSignals(), holdSignals(), releaseSignals(): signals become records in a pipe, and none is lost between two images.
 *
 * Raw system calls where libc's could be hold-signals.c's.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <ucontext.h>

#include "errors.h"

namespace {

struct Record {
  int32_t signal, pid;
};

const int barrier = SIGURG;      // Nobody else here uses it, and its default is to do nothing.
const int inRecord = SIGVTALRM;  // Nobody else here uses it: a thread that blocks the barrier but not this is in `record`.

int recordFd = -1;
uint64_t toBlock = 0, refused = 0;
/** SIGCHLD says only "look": one unread record is enough, and a thousand deaths cannot crowd out a SIGTERM. */
int sigchldUnread = 0;
bool sigchldHeard = true;

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

struct sigaction recording() {
  struct sigaction action {};
  action.sa_sigaction = record;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigfillset(&action.sa_mask);
  // All but the mark of a thread that is in here: see needsBlock().
  *reinterpret_cast<uint64_t*>(&action.sa_mask) &= ~(1ull << (inRecord - 1));
  return action;
}

Napi::Value catchSignals(Call& call) {
  toBlock = setOf(call);
  recordFd = call.fd();
  const struct sigaction action = recording();
  for (int signal = 1; signal <= 64; signal++) {
    if (!(toBlock >> (signal - 1) & 1) || sigaction(signal, &action, nullptr) == 0) continue;
    // musl keeps one real-time signal more to itself than glibc (EINVAL). It cannot be had there, and must not be blocked:
    // setuid(2) and its like would wait for ever.
    if (errno != EINVAL || signal < 32) return call.fail("sigaction");
    refused |= 1ull << (signal - 1);
  }
  toBlock &= ~refused;
  return call.env.Undefined();
}

/**
 * The signals of holdSignals, put by `blockHere` into the mask of the thread that runs it: a handler's return restores the
 * mask in its context. A thread that is in `record` runs it afterwards (`record` blocks everything), so when all have
 * answered, no record is half written: execve would end the thread and lose that signal.
 */
int answers = 0;

void blockHere(int, siginfo_t*, void* context) {
  auto mask = reinterpret_cast<uint64_t*>(&static_cast<ucontext_t*>(context)->uc_sigmask);
  *mask |= toBlock;
  __atomic_add_fetch(&answers, 1, __ATOMIC_SEQ_CST);
}

/** True if this thread could run a handler of these signals, or is in one: it has the signals blocked only until it returns. */
bool needsBlock(const char* thread) {
  char path[64] = "/proc/self/task/", text[2048];
  strncat(path, thread, 20);
  strcat(path, "/status");
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  text[length < 0 ? 0 : length] = 0;
  const char* line = strstr(text, "SigBlk:");
  uint64_t blocked = line ? strtoull(line + 7, nullptr, 16) : 0;
  auto blocks = [&](int signal) { return (blocked >> (signal - 1) & 1) != 0; };
  return blocks(barrier) ? !blocks(inRecord) : (blocked & toBlock) != toBlock;
}

/** System calls and plain string functions only: a crash's handler does it too. False, with errno: it could not look. */
bool blockOnOtherThreads() {
  int threads = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (threads < 0) return false;
  struct sigaction action {}, before;
  action.sa_sigaction = blockHere;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigfillset(&action.sa_mask);
  sigaction(barrier, &action, &before);
  __atomic_store_n(&answers, 0, __ATOMIC_SEQ_CST);
  int asked = 0;
  long self = syscall(SYS_gettid), length;
  alignas(8) char entries[2048];
  while ((length = syscall(SYS_getdents64, threads, entries, sizeof entries)) > 0)
    for (long at = 0; at < length; at += *reinterpret_cast<unsigned short*>(entries + at + 16)) {
      const char* name = entries + at + 19;
      long thread = strtol(name, nullptr, 10);
      if (thread > 0 && thread != self && needsBlock(name) && syscall(SYS_tgkill, getpid(), thread, barrier) == 0) asked++;
    }
  close(threads);
  // Where CPU is short a thread may wait long for its turn. 1 s at most: one that sleeps in the kernel beyond signals runs no
  // handler either.
  for (int i = 0; i < 10 * 1000 && __atomic_load_n(&answers, __ATOMIC_SEQ_CST) < asked; i++) {
    timespec pause{0, 100 * 1000};
    nanosleep(&pause, nullptr);
  }
  sigaction(barrier, &before, nullptr);
  return true;
}

Napi::Value holdSignals(Call& call) {
  toBlock = setOf(call) & ~refused;
  // Faults on this thread alone: until the next image can survive one, nobody may send us any.
  const uint64_t faults = 1ull << (SIGSEGV - 1) | 1ull << (SIGBUS - 1) | 1ull << (SIGABRT - 1) | 1ull << (SIGILL - 1) | 1ull << (SIGFPE - 1);
  const uint64_t here = toBlock | faults;
  if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, &here, nullptr, 8) < 0) return call.fail("sigprocmask");
  if (!blockOnOtherThreads()) return call.fail("open");
  return call.env.Undefined();
}

Napi::Value releaseSignals(Call& call) {
  if (void* release = dlsym(RTLD_DEFAULT, "einhorn_release_signals")) reinterpret_cast<void (*)()>(release)();
  const uint64_t none = 0;
  return call.done("sigprocmask", syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, 8));
}

}  // namespace

void holdForCrash() {
  if (toBlock) blockOnOtherThreads();
}

/**
 * Unheard, a death does not even interrupt us: its signal's default is to be thrown away, and the child still waits to be reaped
 * (unlike with SIG_IGN, sigaction(2)). Ten thousand orphans would otherwise wake up the event loop ten thousand times.
 */
void hearSigchld(bool heard) {
  if (heard) __atomic_store_n(&sigchldUnread, 0, __ATOMIC_SEQ_CST);
  if (heard == sigchldHeard || !(toBlock >> (SIGCHLD - 1) & 1)) return;
  struct sigaction action = recording();
  if (!heard) action.sa_handler = SIG_DFL;
  if (sigaction(SIGCHLD, &action, nullptr) == 0) sigchldHeard = heard;
}

void exportSignals(Napi::Object exports) {
  add(exports, "catchSignals", catchSignals);
  add(exports, "holdSignals", holdSignals);
  add(exports, "releaseSignals", releaseSignals);
}
