/** exec(), and what belongs to the process as a whole. */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "errors.h"

static Napi::Value exec(Call& call) {
  const char* file = call.text("file");
  if (!file) return call.fail("execve", EINVAL);
  // Node set close-on-exec on these at its start, and ignores these: neither is for what --reexec-as may run in between.
  for (int fd = 0; fd < 3; fd++) fcntl(fd, F_SETFD, 0);
  for (int number : {SIGPIPE, SIGXFSZ}) signal(number, SIG_DFL);
  execve(file, call.texts("args"), call.texts("env"));
  int error = errno;
  for (int number : {SIGPIPE, SIGXFSZ}) signal(number, SIG_IGN);
  return call.fail("execve", error);
}

static Napi::Value getResourceLimit(Call& call) {
  int64_t values[2];  // struct rlimit64; all ones, RLIM_INFINITY, is -1
  if (syscall(SYS_prlimit64, 0, call.integer("resource"), nullptr, values) < 0) return call.fail("getrlimit");
  Napi::Object result = Napi::Object::New(call.env);
  result.Set("soft", call.value(static_cast<double>(values[0])));
  result.Set("hard", call.value(static_cast<double>(values[1])));
  return result;
}

/** Segments that cannot be written are clean pages of their file: what is touched again is read again. */
static int trimObject(dl_phdr_info* object, size_t, void*) {
  uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W)) continue;
    uintptr_t from = (object->dlpi_addr + segment.p_vaddr + page - 1) & ~(page - 1);
    uintptr_t to = (object->dlpi_addr + segment.p_vaddr + segment.p_memsz) & ~(page - 1);
    if (to > from) madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
  }
  return 0;
}

/** A function of glibc's malloc; musl has none of them, and no need of them. */
template <typename Function>
static Function ofMalloc(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

/** What node:v8's setFlagsFromString() calls, v8::V8::SetFlagsFromString(const char*): loading node:v8 takes 2 ms. */
static Napi::Value setEngineFlag(Call& call) {
  auto set = reinterpret_cast<void (*)(const char*)>(dlsym(RTLD_DEFAULT, "_ZN2v82V818SetFlagsFromStringEPKc"));
  const char* flag = call.text("flag");
  if (set && flag) set(flag);
  return call.env.Undefined();
}

/** Threads that allocate little do not need heaps of their own. */
static void shareHeap() {
  constexpr int arenaMax = -8;  // M_ARENA_MAX, <malloc.h> of glibc
  if (auto set = ofMalloc<int (*)(int, int)>("mallopt")) set(arenaMax, 1);
}

/** What was freed goes back to the kernel. */
static void trimHeap() {
  if (auto trim = ofMalloc<int (*)(size_t)>("malloc_trim")) trim(0);
}

/** A large amount of memory outside of its heap makes V8 collect all that it can, and give the pages back, for a moment's claim. */
static Napi::Value collectGarbage(Call& call) {
  constexpr int64_t more = int64_t{1} << 36;  // than any heap's limit
  int64_t now;
  napi_adjust_external_memory(call.env, more, &now);
  napi_adjust_external_memory(call.env, -more, &now);
  return call.env.Undefined();
}

void exportExec(Napi::Object exports) {
  shareHeap();
  add(exports, "exec", exec);
  add(exports, "getResourceLimit", getResourceLimit);
  add(exports, "setPriority", [](Call& call) {
    return call.done("setpriority", setpriority(PRIO_PROCESS, static_cast<id_t>(call.number("pid", 0)), call.integer("nice", 0)));
  });
  add(exports, "setEngineFlag", setEngineFlag);
  add(exports, "collectGarbage", collectGarbage);
  add(exports, "trimMemory", [](Call& call) {
    dl_iterate_phdr(trimObject, nullptr);
    trimHeap();
    return call.env.Undefined();
  });
}
