/*
 * Stands in for a Node on musl where there is none to be had (arm64): musl's loader must find every symbol of the objects given, and with
 * hold-signals.so preloaded a held signal must stay held. Built by prove.mjs, with an empty function for each symbol that Node has.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static int fail(const char* what) {
  fprintf(stderr, "musl-host: %s\n", what);
  return 1;
}

int main(int count, char** files) {
  sigset_t usr1, now;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  if (count == 1) {
    /* The second image: SIGUSR1 was blocked when it began, unless qemu-user forgot. */
    void (*release)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "einhorn_release_signals");
    if (!release) return fail("hold-signals.so was not preloaded");
    release();
    sigprocmask(SIG_UNBLOCK, &usr1, NULL);
    sigprocmask(SIG_BLOCK, NULL, &now);
    return sigismember(&now, SIGUSR1) ? fail("a released signal stays held") : 0;
  }
  for (int at = 1; at < count; at++)
    if (!dlopen(files[at], RTLD_NOW)) return fail(dlerror());
  return 0;
}
