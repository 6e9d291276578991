/**
 * surviveCrashes(): a fault becomes an execve(2) of the next image in the same PID. From the moment of the fault on only
 * system calls: the heap, locks and JavaScript may be in any state.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include "errors.h"

namespace {

const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
/** Where the file has room for them: src/system/journal.ts. */
const off_t noteAt = 64, stackAt = 4096, stackMax = 8192, mapsAt = 64 * 1024, mapsMax = 960 * 1024;

/** What the next image is told; native byte order. */
struct Note {
  uint32_t kind, signal;
  int32_t code, sender;
  uint64_t address;
  double at;
  uint64_t counter;
};

char **files, **arguments, **environment;
int stateFd = -1, noted = 0, exitCode = -1;

/** The top of the stack, in which the return addresses are. The kernel reads it: where it ends, this is no fault. */
void copyStack(void* context, Note* note) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  note->counter = static_cast<uint64_t>(registers.gregs[REG_RIP]);
  auto top = static_cast<uint64_t>(registers.gregs[REG_RSP]);
#else
  note->counter = registers.pc;
  auto top = registers.sp;
#endif
  syscall(SYS_pwrite64, stateFd, top, stackMax, stackAt);
}

/** Which file each address of the stack is in. */
void copyMaps() {
  char buffer[4096];
  int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  ssize_t length;
  for (off_t at = 0; at < mapsMax && (length = read(maps, buffer, sizeof buffer)) > 0; at += length)
    if (syscall(SYS_pwrite64, stateFd, buffer, static_cast<size_t>(length), mapsAt + at) < 0) break;
  close(maps);
}

void crash(int signal, siginfo_t* info, void* context) {
  if (exitCode >= 0) syscall(SYS_exit_group, exitCode);
  long pid = syscall(SYS_getpid);
  Note note{1, static_cast<uint32_t>(signal), info->si_code, 0, 0, 0, 0};
  if (info->si_code > 0) note.address = reinterpret_cast<uint64_t>(info->si_addr);
  else note.sender = info->si_pid;
  timespec now;
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  note.at = static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
  if (!__atomic_exchange_n(&noted, 1, __ATOMIC_SEQ_CST)) {
    copyStack(context, &note);
    copyMaps();
    syscall(SYS_pwrite64, stateFd, &note, sizeof note, noteAt);
  }
  if (syscall(SYS_gettid) != pid) {
    // Workers that are to die with their parent would die with its main thread (prctl(2), PR_SET_PDEATHSIG): that one executes.
    syscall(SYS_tgkill, pid, pid, SIGABRT);
    timespec patience{1, 0};
    nanosleep(&patience, nullptr);
  }
  holdForCrash();
  for (int fd = 0; fd < 3; fd++) fcntl(fd, F_SETFD, 0);
  for (char** file = files; *file; file++) execve(*file, arguments, environment);
  // Nothing is left but to die of it.
  const uint64_t standard[4] = {0, 0, 0, 0}, none = 0;
  syscall(SYS_rt_sigaction, signal, standard, nullptr, 8);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, 8);
  syscall(SYS_tgkill, pid, syscall(SYS_gettid), signal);
}

Napi::Value surviveCrashes(Call& call) {
  files = call.texts("files");
  arguments = call.texts("args");
  environment = call.texts("env");
  stateFd = call.integer("stateFd");
  call.keep();  // for the handler
  static stack_t stack{};
  if (!stack.ss_sp) {
    const size_t stackSize = 64 * 1024;
    void* memory = mmap(nullptr, stackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return call.fail("mmap");
    stack.ss_sp = memory;
    stack.ss_size = stackSize;
  }
  if (syscall(SYS_sigaltstack, &stack, nullptr) < 0) return call.fail("sigaltstack");
  struct sigaction action {};
  action.sa_sigaction = crash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  for (int signal : signals)
    if (sigaction(signal, &action, nullptr) < 0) return call.fail("sigaction");
  return call.env.Undefined();
}

/** All is done and closed: a fault while Node takes itself apart changes nothing of that. */
Napi::Value endSurvival(Call& call) {
  exitCode = call.integer("exitCode") & 255;
  return call.env.Undefined();
}

}  // namespace

void exportCrash(Napi::Object exports) {
  add(exports, "surviveCrashes", surviveCrashes);
  add(exports, "endSurvival", endSurvival);
}
