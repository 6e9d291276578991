/**
 * What every file of the addon shares: reading one options object, and turning errno into the Error that
 * einhorn-native.d.ts promises. No std:: containers and no exceptions: the addon links to nothing (bundle/check.mjs), so
 * that one binary serves glibc and musl.
 */
#pragma once
#include <errno.h>
#include <napi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/** The errno's name, "EADDRINUSE"; "EUNKNOWN" for one that Linux does not have. */
const char* errorName(int number);

/** Runs a system call again for as long as a signal interrupts it. */
template <typename F>
auto retry(F call) -> decltype(call()) {
  for (;;) {
    auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

/** Memory that lives as long as one call. */
class Arena {
 public:
  ~Arena() {
    while (last) {
      Block* before = last->before;
      free(last);
      last = before;
    }
  }
  template <typename T>
  T* take(size_t count) {
    auto block = static_cast<Block*>(calloc(1, sizeof(Block) + count * sizeof(T)));
    if (!block) abort();
    block->before = last;
    last = block;
    return reinterpret_cast<T*>(block + 1);
  }

 private:
  struct alignas(16) Block {
    Block* before;
  };
  Block* last = nullptr;
};

struct Bytes {
  unsigned char* data;
  size_t length;
};

/** One call from JavaScript: its options object, its memory, its error. What is absent or of a wrong type has the fallback. */
class Call {
 public:
  explicit Call(const Napi::CallbackInfo& info) : env(info.Env()), options(info[0]) {}

  Napi::Env env;
  Arena arena;
  napi_value options;

  napi_value get(const char* key) const { return get(options, key); }
  napi_value get(napi_value object, const char* key) const {
    napi_value value = nullptr;
    napi_valuetype type = napi_undefined;
    if (napi_typeof(env, object, &type) == napi_ok && type == napi_object) napi_get_named_property(env, object, key, &value);
    return value;
  }
  bool has(const char* key) const {
    napi_valuetype type = napi_undefined;
    napi_typeof(env, get(key), &type);
    return type != napi_undefined && type != napi_null;
  }
  static int64_t number(napi_env env, napi_value value, int64_t fallback) {
    int64_t result;
    return napi_get_value_int64(env, value, &result) == napi_ok ? result : fallback;
  }
  int64_t number(const char* key, int64_t fallback = -1) const { return number(env, get(key), fallback); }
  int fd(const char* key = "fd") const { return static_cast<int>(number(key)); }
  bool flag(const char* key, bool fallback = false) const {
    bool result;
    return napi_get_value_bool(env, get(key), &result) == napi_ok ? result : fallback;
  }
  /** With `spare` bytes after the terminating zero. */
  char* text(napi_value value, size_t spare = 0) {
    size_t length = 0;
    if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return nullptr;
    char* result = arena.take<char>(length + 1 + spare);
    napi_get_value_string_utf8(env, value, result, length + 1, &length);
    return result;
  }
  char* text(const char* key) { return text(get(key)); }
  uint32_t count(napi_value list) const {
    uint32_t result = 0;
    return list && napi_get_array_length(env, list, &result) == napi_ok ? result : 0;
  }
  napi_value at(napi_value list, uint32_t index) const {
    napi_value value = nullptr;
    if (index < count(list)) napi_get_element(env, list, index, &value);
    return value;
  }
  /** A zero-terminated vector of strings, as execve wants it, with `spare` places more at its end. */
  char** texts(const char* key, size_t spare = 0) {
    napi_value list = get(key);
    uint32_t length = count(list);
    char** result = arena.take<char*>(length + 1 + spare);
    for (uint32_t i = 0, n = 0; i < length; i++)
      if (char* item = text(at(list, i))) result[n++] = item;
    return result;
  }
  int* numbers(const char* key, uint32_t* length) {
    napi_value list = get(key);
    *length = count(list);
    int* result = arena.take<int>(*length + 1);
    for (uint32_t i = 0; i < *length; i++) result[i] = static_cast<int>(number(env, at(list, i), -1));
    return result;
  }
  Bytes bytes(const char* key) const {
    Bytes result{nullptr, 0};
    napi_typedarray_type type;
    void* data = nullptr;
    if (napi_get_typedarray_info(env, get(key), &type, &result.length, &data, nullptr, nullptr) != napi_ok) return {nullptr, 0};
    result.data = static_cast<unsigned char*>(data);
    return result;
  }

  /** Throws with what errno says now. */
  Napi::Value fail(const char* syscall, int number = errno) const {
    const char* code = errorName(number);
    char message[160] = {0};
    strncat(message, syscall, 60);
    strcat(message, " ");
    strncat(message, code, 20);
    strcat(message, ": ");
    strncat(message, strerror(number), 70);
    napi_value error;
    napi_create_error(env, Napi::String::New(env, code), Napi::String::New(env, message), &error);
    Napi::Object object(env, error);
    object.Set("errno", Napi::Number::New(env, number));
    object.Set("syscall", Napi::String::New(env, syscall));
    napi_throw(env, error);
    return env.Undefined();
  }
  /** For calls that answer with a number: -1 throws. */
  Napi::Value result(const char* syscall, long value) const {
    return value == -1 ? fail(syscall) : Napi::Number::New(env, static_cast<double>(value));
  }
  /** For calls on non-blocking descriptors: EAGAIN is -1, no error. */
  Napi::Value resultOrAgain(const char* syscall, long value) const {
    if (value == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Napi::Number::New(env, -1);
    return result(syscall, value);
  }
};

/** Puts one function into the export table. */
template <Napi::Value (*method)(const Napi::CallbackInfo&)>
void addMethod(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<method>(env, name));
}

/** Each file adds its own. */
void exportSpawn(Napi::Env env, Napi::Object exports);
void exportReap(Napi::Env env, Napi::Object exports);
void exportExec(Napi::Env env, Napi::Object exports);
void exportSignals(Napi::Env env, Napi::Object exports);
void exportReactor(Napi::Env env, Napi::Object exports);
void exportSockets(Napi::Env env, Napi::Object exports);
void exportCrash(Napi::Env env, Napi::Object exports);
/** Makes the other threads leave the signals alone that are caught; async-signal-safe. */
void holdForCrash();
/** reap() is about to look: the next SIGCHLD is worth a record again. */
void rearmSigchld();
