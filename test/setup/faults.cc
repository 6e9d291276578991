/**
 * For tests alone, never shipped: the addon's own sources, linked so that each function of libc that they call (`ld --wrap`) asks
 * here first whether it is to fail. Who decides is the file $EINHORN_FAULTS, mapped into the master and every image after it; the
 * test writes an order there (test/support/faults.ts has the same layout). System calls made with syscall(2) go by "SYS_name".
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

namespace {

enum Where : int32_t { anywhere, inMaster, elsewhere };

struct Order {
  int32_t times, error, hits, where, master, after;
  char call[40];
};

Order* order = nullptr;

/** Also between vfork and exec, and in handlers of signals: plain memory only. */
long failing(const char* call);

}  // namespace

#define WRAP(name)                                                                      \
  extern "C" long __real_##name(long, long, long, long, long, long);                    \
  extern "C" long __wrap_##name(long a, long b, long c, long d, long e, long f) {       \
    long error = failing(#name);                                                        \
    if (!error) return __real_##name(a, b, c, d, e, f);                                 \
    errno = static_cast<int>(error);                                                    \
    return failure(#name);                                                              \
  }

/** What each answers when it fails. */
static long failure(const char* call) { return strcmp(call, "realloc") == 0 || strcmp(call, "isatty") == 0 ? 0 : -1; }

extern "C" long __real_syscall(long, long, long, long, long, long, long);

namespace {

/** Raw: this may be asked about syscall(2) itself. */
int32_t self() { return static_cast<int32_t>(__real_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0)); }

long failing(const char* call) {
  if (!order || __atomic_load_n(&order->times, __ATOMIC_SEQ_CST) <= 0 || strcmp(order->call, call) != 0) return 0;
  if (order->where != anywhere && (order->where == inMaster) != (order->master == self())) return 0;
  if (__atomic_sub_fetch(&order->after, 1, __ATOMIC_SEQ_CST) >= 0) return 0;
  if (__atomic_sub_fetch(&order->times, 1, __ATOMIC_SEQ_CST) < 0) return 0;
  __atomic_add_fetch(&order->hits, 1, __ATOMIC_SEQ_CST);
  return order->error;
}

const char* nameOf(long number) {
  switch (number) {
#define S(name) \
  case name:    \
    return #name;
    SYSTEM_CALLS
#undef S
  }
  return "";
}

}  // namespace

extern "C" long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f) {
  long error = failing(nameOf(number));
  if (!error) return __real_syscall(number, a, b, c, d, e, f);
  errno = static_cast<int>(error);
  return -1;
}

// napi.h and the addon call these by their own types; nothing of libc's headers may be in the way.
FUNCTIONS

__attribute__((constructor)) static void begin() {
  const char* file = getenv("EINHORN_FAULTS");
  long fd = file ? __real_syscall(SYS_openat, AT_FDCWD, reinterpret_cast<long>(file), O_RDWR | O_CLOEXEC, 0, 0, 0) : -1;
  if (fd < 0) return;
  long memory = __real_syscall(SYS_mmap, 0, sizeof(Order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  __real_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
  if (memory <= 0) return;
  order = reinterpret_cast<Order*>(memory);
  // The first that comes is the master, until the test says so.
  int32_t nobody = 0;
  __atomic_compare_exchange_n(&order->master, &nobody, self(), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
