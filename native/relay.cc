/** relay(): what a worker wrote to its stderr, to ours. */
#include <poll.h>
#include <signal.h>

#include "errors.h"

namespace {

/** Half of what fits, and then to the end of the line: byte by byte, as a pipe takes nothing back. */
ssize_t readLines(int from, const Bytes& buffer) {
  size_t half = buffer.length / 2;
  ssize_t got = retry([&] { return read(from, buffer.data, half); });
  if (got <= 0) return got;
  size_t length = static_cast<size_t>(got);
  // Less is all there was, and whoever writes half a line means it.
  if (length < half) return got;
  while (length < buffer.length && buffer.data[length - 1] != '\n' && retry([&] { return read(from, buffer.data + length, 1); }) == 1)
    length++;
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
  ssize_t length = readLines(from, buffer);
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
