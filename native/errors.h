/**
 * What every file of the addon shares: one call with its options object, its memory, and its error as einhorn-native.d.ts promises.
 * No exceptions, and nothing of the C++ library that is not inline: the addon links to nothing (bundle/check.mjs), so that
 * one binary serves glibc and musl.
 */
#pragma once
#include <errno.h>
#include <napi.h>
#include <stdio.h>
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

struct Bytes {
  unsigned char* data;
  size_t length;
};

/** What is absent from the options, or of a wrong type, has the fallback. Memory lives as long as the call. */
class Call {
 public:
  explicit Call(const Napi::CallbackInfo& info) : env(info.Env()), options(info[0]) {}
  ~Call() {
    for (Block *block = last, *before; block; block = before) {
      before = block->before;
      free(block);
    }
  }

  Napi::Env env;
  napi_value options;

  /** Leaves this call's memory to whom it was given. */
  void keep() { last = nullptr; }

  template <typename T>
  T* take(size_t count) {
    auto block = static_cast<Block*>(calloc(1, sizeof(Block) + count * sizeof(T)));
    if (!block) abort();
    block->before = last;
    last = block;
    return reinterpret_cast<T*>(block + 1);
  }

  napi_value get(const char* key) const { return get(options, key); }
  napi_value get(napi_value object, const char* key) const {
    napi_value value = nullptr;
    napi_valuetype type = napi_undefined;
    if (napi_typeof(env, object, &type) == napi_ok && type == napi_object) napi_get_named_property(env, object, key, &value);
    return value;
  }
  int64_t toNumber(napi_value value, int64_t fallback = -1) const {
    int64_t result;
    return value && napi_get_value_int64(env, value, &result) == napi_ok ? result : fallback;
  }
  int64_t number(const char* key, int64_t fallback = -1) const { return toNumber(get(key), fallback); }
  int integer(const char* key, int fallback = -1) const { return static_cast<int>(number(key, fallback)); }
  int fd() const { return integer("fd"); }
  bool flag(const char* key, bool fallback = false) const {
    bool result;
    return napi_get_value_bool(env, get(key), &result) == napi_ok ? result : fallback;
  }
  char* text(napi_value value) {
    size_t length = 0;
    if (!value || napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return nullptr;
    char* result = take<char>(length + 1);
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
  /** A zero-terminated vector of strings, as execve wants it; one place before it is free. */
  char** texts(const char* key) {
    napi_value list = get(key);
    uint32_t length = count(list);
    char** result = take<char*>(length + 2) + 1;
    for (uint32_t i = 0, n = 0; i < length; i++)
      if (char* item = text(at(list, i))) result[n++] = item;
    return result;
  }
  int* integers(const char* key, uint32_t* length) {
    napi_value list = get(key);
    *length = count(list);
    int* result = take<int>(*length + 1);
    for (uint32_t i = 0; i < *length; i++) result[i] = static_cast<int>(toNumber(at(list, i)));
    return result;
  }
  Bytes bytes(const char* key) const {
    size_t length = 0;
    void* data = nullptr;
    napi_typedarray_type type;
    if (napi_get_typedarray_info(env, get(key), &type, &length, &data, nullptr, nullptr) != napi_ok) return {nullptr, 0};
    return {static_cast<unsigned char*>(data), length};
  }

  Napi::Number value(double number) const { return Napi::Number::New(env, number); }
  Napi::Value list(const int* numbers, uint32_t length) const {
    Napi::Array result = Napi::Array::New(env, length);
    for (uint32_t i = 0; i < length; i++) result.Set(i, value(numbers[i]));
    return result;
  }
  /** Throws `number`; for the results below, what errno says. */
  Napi::Value fail(const char* syscall, int number = errno) const;
  /** Of a call that answers with a number. */
  Napi::Value result(const char* syscall, long number) const {
    return number == -1 ? fail(syscall) : value(static_cast<double>(number));
  }
  /** Of one on a descriptor that may be non-blocking: EAGAIN is -1. */
  Napi::Value resultOrAgain(const char* syscall, long number) const {
    return number == -1 && errno == EAGAIN ? value(-1) : result(syscall, number);
  }
  /** Of one that answers nothing. */
  Napi::Value done(const char* syscall, long number) const { return number == -1 ? fail(syscall) : env.Undefined(); }

 private:
  struct alignas(16) Block {
    Block* before;
  };
  Block* last = nullptr;
};

/** Puts one function into the export table. */
using Method = Napi::Value (*)(Call&);
void add(Napi::Object exports, const char* name, Method method);

/** Each file adds its own. */
void exportSpawn(Napi::Object exports);
void exportReap(Napi::Object exports);
void exportExec(Napi::Object exports);
void exportSignals(Napi::Object exports);
void exportReactor(Napi::Object exports);
void exportSockets(Napi::Object exports);
void exportCrash(Napi::Object exports);
void exportRelay(Napi::Object exports);
/** Makes the other threads leave the signals alone that are caught; async-signal-safe. */
void holdForCrash();
/** reap() is about to look: the next SIGCHLD is worth a record again. */
void hearSigchld(bool heard);
