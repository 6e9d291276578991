/** Sockets, and what else is done to a descriptor. Thin: each function is its system call. */
#include <fcntl.h>
#include <linux/filter.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "errors.h"

namespace {

#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif

int typeOf(const Call& call) { return static_cast<int>(call.number("type")) | (call.flag("private") ? SOCK_CLOEXEC : 0); }

Napi::Value nothing(const Call& call, const char* name, long result) { return result < 0 ? call.fail(name) : call.env.Undefined(); }

Napi::Value bytesOf(const Call& call, const void* data, size_t length) {
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(call.env, length);
  memcpy(buffer.Data(), data, length);
  napi_value result = nullptr;
  napi_create_typedarray(call.env, napi_uint8_array, length, buffer, 0, &result);
  return Napi::Value(call.env, result);
}

const sockaddr* addressOf(const Bytes& bytes) { return reinterpret_cast<const sockaddr*>(bytes.data); }
socklen_t size(size_t length) { return static_cast<socklen_t>(length); }

Napi::Value openSocket(const Napi::CallbackInfo& info) {
  Call call(info);
  return call.result("socket", socket(call.fd("family"), typeOf(call), static_cast<int>(call.number("protocol", 0))));
}

Napi::Value socketPair(const Napi::CallbackInfo& info) {
  Call call(info);
  int fds[2];
  if (socketpair(AF_UNIX, typeOf(call) | SOCK_NONBLOCK, 0, fds) < 0) return call.fail("socketpair");
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  for (uint32_t i = 0; i < 2; i++) result.Set(i, Napi::Number::New(info.Env(), fds[i]));
  return result;
}

Napi::Value makePipe(const Napi::CallbackInfo& info) {
  Call call(info);
  int fds[2];
  if (pipe2(fds, O_NONBLOCK | (call.flag("private") ? O_CLOEXEC : 0)) < 0) return call.fail("pipe");
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  for (uint32_t i = 0; i < 2; i++) result.Set(i, Napi::Number::New(info.Env(), fds[i]));
  return result;
}

Napi::Value bindSocket(const Napi::CallbackInfo& info) {
  Call call(info);
  Bytes address = call.bytes("address");
  return nothing(call, "bind", bind(call.fd(), addressOf(address), size(address.length)));
}

Napi::Value connectSocket(const Napi::CallbackInfo& info) {
  Call call(info);
  Bytes address = call.bytes("address");
  return nothing(call, "connect", retry([&] { return connect(call.fd(), addressOf(address), size(address.length)); }));
}

Napi::Value listenOn(const Napi::CallbackInfo& info) {
  Call call(info);
  return nothing(call, "listen", listen(call.fd(), static_cast<int>(call.number("backlog", 128))));
}

Napi::Value acceptFrom(const Napi::CallbackInfo& info) {
  Call call(info);
  return call.resultOrAgain("accept", retry([&] { return accept4(call.fd(), nullptr, nullptr, SOCK_NONBLOCK); }));
}

Napi::Value getSocketName(const Napi::CallbackInfo& info) {
  Call call(info);
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(call.fd(), reinterpret_cast<sockaddr*>(&address), &length) < 0) return call.fail("getsockname");
  return bytesOf(call, &address, length);
}

Napi::Value setSocketOption(const Napi::CallbackInfo& info) {
  Call call(info);
  int number = static_cast<int>(call.number("value", 0));
  Bytes value = call.bytes("value");
  if (!value.data) value = {reinterpret_cast<unsigned char*>(&number), sizeof number};
  return nothing(call, "setsockopt", setsockopt(call.fd(), call.fd("level"), call.fd("name"), value.data, size(value.length)));
}

Napi::Value getSocketOption(const Napi::CallbackInfo& info) {
  Call call(info);
  socklen_t length = size(static_cast<size_t>(call.number("length", 4)));
  char* value = call.arena.take<char>(length);
  if (getsockopt(call.fd(), call.fd("level"), call.fd("name"), value, &length) < 0) return call.fail("getsockopt");
  return bytesOf(call, value, length);
}

Napi::Value attachReuseportFilter(const Napi::CallbackInfo& info) {
  Call call(info);
  Bytes bytes = call.bytes("program");
  sock_fprog program{static_cast<unsigned short>(bytes.length / sizeof(sock_filter)), reinterpret_cast<sock_filter*>(bytes.data)};
  return nothing(call, "setsockopt", setsockopt(call.fd(), SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program));
}

Napi::Value readFrom(const Napi::CallbackInfo& info) {
  Call call(info);
  Bytes buffer = call.bytes("buffer");
  return call.resultOrAgain("read", retry([&] { return read(call.fd(), buffer.data, buffer.length); }));
}

Napi::Value writeTo(const Napi::CallbackInfo& info) {
  Call call(info);
  Bytes buffer = call.bytes("buffer");
  return call.resultOrAgain("write", retry([&] { return write(call.fd(), buffer.data, buffer.length); }));
}

Napi::Value receive(const Napi::CallbackInfo& info) {
  Call call(info);
  Napi::Env env = info.Env();
  Bytes buffer = call.bytes("buffer");
  iovec part{buffer.data, buffer.length};
  // 253 descriptors is the kernel's own limit for one message (SCM_MAX_FD).
  alignas(cmsghdr) char control[CMSG_SPACE(253 * sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t length = retry([&] { return recvmsg(call.fd(), &message, 0); });
  if (length < 0) return errno == EAGAIN ? env.Null() : call.fail("recvmsg");
  ucred sender{0, static_cast<uid_t>(-1), static_cast<gid_t>(-1)};
  Napi::Array fds = Napi::Array::New(env);
  // Not CMSG_NXTHDR: it is a function of glibc's, which musl does not have.
  for (size_t at = 0; at + sizeof(cmsghdr) <= message.msg_controllen;) {
    cmsghdr* item = reinterpret_cast<cmsghdr*>(control + at);
    at += CMSG_ALIGN(item->cmsg_len);
    if (item->cmsg_level != SOL_SOCKET) continue;
    if (item->cmsg_type == SCM_CREDENTIALS) memcpy(&sender, CMSG_DATA(item), sizeof sender);
    if (item->cmsg_type != SCM_RIGHTS) continue;
    for (size_t n = 0; CMSG_LEN((n + 1) * sizeof(int)) <= item->cmsg_len; n++) {
      int fd;
      memcpy(&fd, CMSG_DATA(item) + n * sizeof fd, sizeof fd);
      fds.Set(fds.Length(), Napi::Number::New(env, fd));
    }
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("length", Napi::Number::New(env, static_cast<double>(length)));
  result.Set("pid", Napi::Number::New(env, sender.pid));
  result.Set("uid", Napi::Number::New(env, sender.uid));
  result.Set("gid", Napi::Number::New(env, sender.gid));
  result.Set("fds", fds);
  return result;
}

Napi::Value sendTo(const Napi::CallbackInfo& info) {
  Call call(info);
  Bytes buffer = call.bytes("buffer");
  uint32_t count;
  int* fds = call.numbers("fds", &count);
  iovec part{buffer.data, buffer.length};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (count > 0) {
    size_t space = CMSG_SPACE(count * sizeof(int));
    message.msg_control = call.arena.take<char>(space);
    message.msg_controllen = space;
    cmsghdr* item = CMSG_FIRSTHDR(&message);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(item), fds, count * sizeof(int));
  }
  return call.resultOrAgain("sendmsg", retry([&] { return sendmsg(call.fd(), &message, MSG_NOSIGNAL); }));
}

Napi::Value memoryFile(const Napi::CallbackInfo& info) {
  Call call(info);
  return call.result("memfd_create", syscall(SYS_memfd_create, call.text("name"), call.flag("private") ? 1 : 0));
}

Napi::Value setInheritable(const Napi::CallbackInfo& info) {
  Call call(info);
  return nothing(call, "fcntl", fcntl(call.fd(), F_SETFD, call.flag("inheritable") ? 0 : FD_CLOEXEC));
}

Napi::Value isInheritable(const Napi::CallbackInfo& info) {
  Call call(info);
  int flags = fcntl(call.fd(), F_GETFD);
  if (flags < 0) return call.fail("fcntl");
  return Napi::Boolean::New(info.Env(), !(flags & FD_CLOEXEC));
}

Napi::Value setNonBlocking(const Napi::CallbackInfo& info) {
  Call call(info);
  int flags = fcntl(call.fd(), F_GETFL);
  if (flags < 0) return call.fail("fcntl");
  return nothing(call, "fcntl", fcntl(call.fd(), F_SETFL, call.flag("nonBlocking") ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

Napi::Value lockFile(const Napi::CallbackInfo& info) {
  Call call(info);
  int result = retry([&] { return flock(call.fd(), LOCK_EX | LOCK_NB); });
  if (result < 0 && errno != EWOULDBLOCK) return call.fail("flock");
  return Napi::Boolean::New(info.Env(), result == 0);
}

Napi::Value isTerminal(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), isatty(Call(info).fd()) == 1); }

}  // namespace

void exportSockets(Napi::Env env, Napi::Object exports) {
  addMethod<openSocket>(env, exports, "socket");
  addMethod<socketPair>(env, exports, "socketPair");
  addMethod<makePipe>(env, exports, "pipe");
  addMethod<bindSocket>(env, exports, "bind");
  addMethod<connectSocket>(env, exports, "connect");
  addMethod<listenOn>(env, exports, "listen");
  addMethod<acceptFrom>(env, exports, "accept");
  addMethod<getSocketName>(env, exports, "getSocketName");
  addMethod<setSocketOption>(env, exports, "setSocketOption");
  addMethod<getSocketOption>(env, exports, "getSocketOption");
  addMethod<attachReuseportFilter>(env, exports, "attachReuseportFilter");
  addMethod<readFrom>(env, exports, "read");
  addMethod<writeTo>(env, exports, "write");
  addMethod<receive>(env, exports, "receive");
  addMethod<sendTo>(env, exports, "send");
  addMethod<memoryFile>(env, exports, "memoryFile");
  addMethod<setInheritable>(env, exports, "setInheritable");
  addMethod<isInheritable>(env, exports, "isInheritable");
  addMethod<setNonBlocking>(env, exports, "setNonBlocking");
  addMethod<lockFile>(env, exports, "lock");
  addMethod<isTerminal>(env, exports, "isTerminal");
}
