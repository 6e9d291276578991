/*
 * Keeps the signals that were blocked at execve(2) pending until einhorn's handlers are there.
 *
 * Node empties the signal mask and resets dispositions when it starts (PlatformInit), some 60 ms before a handler of ours
 * can exist: a SIGTERM in between kills the master, or, for PID 1, is dropped. Loaded with LD_PRELOAD into the image that
 * takes over, this object stands in for the functions Node does that with. Setting a signal to its default must be stopped
 * too: it discards a pending one whose default is to do nothing (sigaction(2), "POSIX specifies").
 * Started with nothing blocked it does nothing. Same rules as the addon: no libc of its own, plain names only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(signal) (1ull << ((signal) - 1))

static uint64_t held;

__attribute__((constructor)) static void begin(void) {
  const uint64_t wanted = BIT(SIGTERM) | BIT(SIGINT) | BIT(SIGHUP) | BIT(SIGQUIT) | BIT(SIGUSR1) | BIT(SIGUSR2) | BIT(SIGWINCH) |
                          BIT(SIGCONT) | BIT(SIGCHLD) | BIT(SIGTTIN) | BIT(SIGTTOU) | BIT(SIGALRM) | ~0ull << 33 |
                          BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGABRT) | BIT(SIGILL) | BIT(SIGFPE);
  uint64_t blocked = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &blocked, sizeof blocked);
  held = blocked & wanted;
}

__attribute__((visibility("default"))) void einhorn_release_signals(void) { held = 0; }

static int change(int how, const sigset_t* set, sigset_t* before) {
  uint64_t mask = 0;
  if (set) {
    /* 32 and 33 are libc's own (nptl(7)): libc's function would not block them either. */
    mask = *(const uint64_t*)set & ~(3ull << 31);
    if (how == SIG_UNBLOCK) mask &= ~held;
    if (how == SIG_SETMASK) mask |= held;
  }
  return (int)syscall(SYS_rt_sigprocmask, how, set ? &mask : NULL, before, sizeof mask);
}

__attribute__((visibility("default"))) int sigprocmask(int how, const sigset_t* set, sigset_t* before) {
  return change(how, set, before);
}

__attribute__((visibility("default"))) int pthread_sigmask(int how, const sigset_t* set, sigset_t* before) {
  int errnoBefore = errno, result = change(how, set, before) == 0 ? 0 : errno;
  errno = errnoBefore;
  return result;
}

__attribute__((visibility("default"))) int sigaction(int signal, const struct sigaction* action, struct sigaction* before) {
  static int (*next)(int, const struct sigaction*, struct sigaction*);
  if (!next) next = (int (*)(int, const struct sigaction*, struct sigaction*))dlsym(RTLD_NEXT, "sigaction");
  if (action && signal >= 1 && signal <= 64 && (held & BIT(signal)) && !(action->sa_flags & SA_SIGINFO) &&
      (action->sa_handler == SIG_DFL || action->sa_handler == SIG_IGN))
    action = NULL;
  return next(signal, action, before);
}
