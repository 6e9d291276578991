/** exec(), and what belongs to the process as a whole. */
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "errors.h"

namespace {

Napi::Value exec(const Napi::CallbackInfo& info) {
  Call call(info);
  const char* file = call.text("file");
  if (!file) return call.fail("execve", EINVAL);
  // Node set close-on-exec on them at its start.
  for (int fd = 0; fd < 3; fd++) fcntl(fd, F_SETFD, 0);
  execve(file, call.texts("args"), call.texts("env"));
  return call.fail("execve");
}

Napi::Value setPriority(const Napi::CallbackInfo& info) {
  Call call(info);
  return call.result("setpriority", setpriority(PRIO_PROCESS, static_cast<id_t>(call.number("pid", 0)), static_cast<int>(call.number("nice", 0))));
}

Napi::Value getResourceLimit(const Napi::CallbackInfo& info) {
  Call call(info);
  uint64_t values[2];
  if (syscall(SYS_prlimit64, 0, static_cast<int>(call.number("resource")), nullptr, values) < 0) return call.fail("getrlimit");
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("soft", Napi::Number::New(info.Env(), static_cast<double>(static_cast<int64_t>(values[0]))));
  result.Set("hard", Napi::Number::New(info.Env(), static_cast<double>(static_cast<int64_t>(values[1]))));
  return result;
}

/** Segments that cannot be written are clean pages of their file: what is touched again is read again. */
int trimObject(dl_phdr_info* object, size_t, void*) {
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W)) continue;
    uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    uintptr_t from = (object->dlpi_addr + segment.p_vaddr + page - 1) & ~(page - 1);
    uintptr_t to = (object->dlpi_addr + segment.p_vaddr + segment.p_memsz) & ~(page - 1);
    if (to > from) madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
  }
  return 0;
}

Napi::Value trimMemory(const Napi::CallbackInfo& info) {
  dl_iterate_phdr(trimObject, nullptr);
  return info.Env().Undefined();
}

}  // namespace

void exportExec(Napi::Env env, Napi::Object exports) {
  addMethod<exec>(env, exports, "exec");
  addMethod<setPriority>(env, exports, "setPriority");
  addMethod<getResourceLimit>(env, exports, "getResourceLimit");
  addMethod<trimMemory>(env, exports, "trimMemory");
}
