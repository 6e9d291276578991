/**
 * The module's entry, errors, and what the compiler wants of a C++ runtime: none is linked, so that nothing depends on
 * which one Node brought. napi.h refers to these from functions that nobody calls.
 */
#include "errors.h"

#ifndef EINHORN_LINK_CXX_RUNTIME
void* operator new(size_t size) { return calloc(1, size); }
void* operator new[](size_t size) { return calloc(1, size); }
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
void operator delete[](void* memory) noexcept { free(memory); }
void operator delete[](void* memory, size_t) noexcept { free(memory); }
extern "C" void __cxa_pure_virtual() { abort(); }
namespace std {
void __throw_bad_alloc() { abort(); }
void __throw_length_error(const char*) { abort(); }
void __throw_logic_error(const char*) { abort(); }
void __throw_out_of_range_fmt(const char*, ...) { abort(); }
template class basic_string<char>;
}  // namespace std
#endif

const char* errorName(int number) {
  // strerrorname_np(3) is too new in glibc and not in musl; libuv's table lacks some that exec and sockets answer with.
#define E(name) \
  case E##name: \
    return "E" #name;
  switch (number) {
    E(2BIG) E(ACCES) E(ADDRINUSE) E(ADDRNOTAVAIL) E(AFNOSUPPORT) E(AGAIN) E(ALREADY) E(BADF) E(BUSY) E(CHILD) E(CONNABORTED)
    E(CONNREFUSED) E(CONNRESET) E(DEADLK) E(DESTADDRREQ) E(DQUOT) E(EXIST) E(FAULT) E(FBIG) E(HOSTUNREACH) E(INPROGRESS)
    E(INTR) E(INVAL) E(IO) E(ISCONN) E(ISDIR) E(LIBBAD) E(LOOP) E(MFILE) E(MSGSIZE) E(NAMETOOLONG) E(NETDOWN) E(NETUNREACH)
    E(NFILE) E(NOBUFS) E(NODEV) E(NOENT) E(NOEXEC) E(NOLCK) E(NOMEM) E(NOPROTOOPT) E(NOSPC) E(NOSYS) E(NOTCONN) E(NOTDIR)
    E(NOTSOCK) E(NOTSUP) E(NOTTY) E(NXIO) E(OVERFLOW) E(PERM) E(PIPE) E(PROTO) E(PROTONOSUPPORT) E(PROTOTYPE) E(RANGE)
    E(ROFS) E(SHUTDOWN) E(SOCKTNOSUPPORT) E(SRCH) E(STALE) E(TIMEDOUT) E(TOOMANYREFS) E(TXTBSY) E(XDEV)
  }
#undef E
  return "EUNKNOWN";
}

Napi::Value Call::fail(const char* syscall, int number) const {
  const char* code = errorName(number);
  char message[160];
  snprintf(message, sizeof message, "%s %s: %s", syscall, code, strerror(number));
  napi_value error;
  napi_create_error(env, Napi::String::New(env, code), Napi::String::New(env, message), &error);
  Napi::Object object(env, error);
  object.Set("errno", value(number));
  object.Set("syscall", Napi::String::New(env, syscall));
  napi_throw(env, error);
  return env.Undefined();
}

static Napi::Value enter(const Napi::CallbackInfo& info) {
  Call call(info);
  return reinterpret_cast<Method>(info.Data())(call);
}

void add(Napi::Object exports, const char* name, Method method) {
  exports.Set(name, Napi::Function::New<enter>(exports.Env(), name, reinterpret_cast<void*>(method)));
}

static Napi::Object initialise(Napi::Env, Napi::Object exports) {
  for (auto part : {exportSpawn, exportReap, exportExec, exportSignals, exportReactor, exportSockets, exportCrash, exportRelay}) part(exports);
  return exports;
}

NODE_API_MODULE(einhorn, initialise)
