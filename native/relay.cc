/** relay(): what a worker wrote to its stderr, to ours. */
#include <poll.h>
#include <signal.h>

#include "errors.h"

namespace {

/** Not beyond the end of a line: byte by byte, as a pipe takes nothing back. */
ssize_t readLine(int from, const Bytes& buffer) {
  size_t length = 0;
  while (length < buffer.length && (length == 0 || buffer.data[length - 1] != '\n')) {
    ssize_t got = retry([&] { return read(from, buffer.data + length, 1); });
    if (got <= 0 && length == 0) return got;
    if (got <= 0) break;
    length++;
  }
  return static_cast<ssize_t>(length);
}

/** No handler of ours runs between reading and writing: a crash there would take what was read with it. */
Napi::Value relay(Call& call) {
  Bytes buffer = call.bytes("buffer");
  int from = call.integer("from"), to = call.integer("to");
  pollfd room{to, POLLOUT, 0};
  if (retry([&] { return poll(&room, 1, 0); }) < 0) return call.fail("poll");
  if (room.revents == 0) return call.env.Null();
  const uint64_t all = ~0ull;
  uint64_t before = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
  ssize_t length = call.flag("line") ? readLine(from, buffer) : retry([&] { return read(from, buffer.data, buffer.length); });
  int readError = errno;
  ssize_t written = length <= 0 ? 0 : retry([&] { return write(to, buffer.data, static_cast<size_t>(length)); });
  // Who shares it was faster: later. Anything else (EPIPE, ENOSPC): nobody will ever take it.
  if (written < 0) written = errno == EAGAIN ? 0 : length;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, 8);
  if (length < 0 && readError != EAGAIN) return call.fail("read", readError);
  Napi::Object result = Napi::Object::New(call.env);
  result.Set("length", call.value(static_cast<double>(length)));
  result.Set("written", call.value(static_cast<double>(written)));
  return result;
}

}  // namespace

void exportRelay(Napi::Object exports) { add(exports, "relay", relay); }
