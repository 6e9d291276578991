/**
 * The module's entry, the names of errno, and what the compiler wants of a C++ runtime: none is linked, so that nothing
 * depends on which one Node brought. napi.h refers to these from virtual functions that nobody calls.
 */
#include "errors.h"

void* operator new(size_t size) { return calloc(1, size); }
void* operator new[](size_t size) { return calloc(1, size); }
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
void operator delete[](void* memory) noexcept { free(memory); }
extern "C" void __cxa_pure_virtual() { abort(); }
void operator delete[](void* memory, size_t) noexcept { free(memory); }
namespace std {
void __throw_length_error(const char*) { abort(); }
void __throw_bad_alloc() { abort(); }
void __throw_logic_error(const char*) { abort(); }
void __throw_out_of_range_fmt(const char*, ...) { abort(); }
template class basic_string<char>;
}  // namespace std

const char* errorName(int number) {
  // strerrorname_np(3) is too new in glibc and not in musl; libuv's table lacks some that exec and sockets answer with.
#define NAME(code) \
  case code:       \
    return #code;
  switch (number) {
    NAME(E2BIG) NAME(EACCES) NAME(EADDRINUSE) NAME(EADDRNOTAVAIL) NAME(EAFNOSUPPORT) NAME(EAGAIN) NAME(EALREADY) NAME(EBADF)
    NAME(EBUSY) NAME(ECHILD) NAME(ECONNABORTED) NAME(ECONNREFUSED) NAME(ECONNRESET) NAME(EDEADLK) NAME(EDESTADDRREQ) NAME(EDOM)
    NAME(EDQUOT) NAME(EEXIST) NAME(EFAULT) NAME(EFBIG) NAME(EHOSTDOWN) NAME(EHOSTUNREACH) NAME(EINPROGRESS) NAME(EINTR)
    NAME(EINVAL) NAME(EIO) NAME(EISCONN) NAME(EISDIR) NAME(ELIBBAD) NAME(ELOOP) NAME(EMFILE) NAME(EMLINK) NAME(EMSGSIZE)
    NAME(ENAMETOOLONG) NAME(ENETDOWN) NAME(ENETUNREACH) NAME(ENFILE) NAME(ENOBUFS) NAME(ENODEV) NAME(ENOENT) NAME(ENOEXEC)
    NAME(ENOLCK) NAME(ENOMEM) NAME(ENOPROTOOPT) NAME(ENOSPC) NAME(ENOSYS) NAME(ENOTCONN) NAME(ENOTDIR) NAME(ENOTEMPTY)
    NAME(ENOTSOCK) NAME(ENOTSUP) NAME(ENOTTY) NAME(ENXIO) NAME(EOVERFLOW) NAME(EPERM) NAME(EPFNOSUPPORT) NAME(EPIPE)
    NAME(EPROTO) NAME(EPROTONOSUPPORT) NAME(EPROTOTYPE) NAME(ERANGE) NAME(EROFS) NAME(ESHUTDOWN) NAME(ESOCKTNOSUPPORT)
    NAME(ESPIPE) NAME(ESRCH) NAME(ESTALE) NAME(ETIMEDOUT) NAME(ETOOMANYREFS) NAME(ETXTBSY) NAME(EXDEV)
  }
#undef NAME
  return "EUNKNOWN";
}

static Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  exportSpawn(env, exports);
  exportReap(env, exports);
  exportExec(env, exports);
  exportSignals(env, exports);
  exportReactor(env, exports);
  exportSockets(env, exports);
  exportCrash(env, exports);
  return exports;
}

NODE_API_MODULE(einhorn, initialise)
