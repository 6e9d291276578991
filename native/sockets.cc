/** Sockets, and what else is done to a descriptor. Thin: each function is its system call. */
#include <fcntl.h>
#include <linux/filter.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "errors.h"

static int typeOf(Call& call) { return call.integer("type") | (call.flag("private") ? SOCK_CLOEXEC : 0); }
static const sockaddr* addressOf(const Bytes& bytes) { return reinterpret_cast<const sockaddr*>(bytes.data); }
static socklen_t size(const Bytes& bytes) { return static_cast<socklen_t>(bytes.length); }

static Napi::Value copyOf(Call& call, const void* data, size_t length) {
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(call.env, length);
  memcpy(buffer.Data(), data, length);
  napi_value result = nullptr;
  napi_create_typedarray(call.env, napi_uint8_array, length, buffer, 0, &result);
  return Napi::Value(call.env, result);
}

static Napi::Value receive(Call& call) {
  Bytes buffer = call.bytes("buffer");
  iovec part{buffer.data, buffer.length};
  // 253 descriptors is the kernel's own limit for one message (SCM_MAX_FD).
  const uint32_t fdsMax = 253;
  alignas(cmsghdr) char control[CMSG_SPACE(fdsMax * sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t length = retry([&] { return recvmsg(call.fd(), &message, 0); });
  if (length < 0) return errno == EAGAIN ? call.env.Null() : call.fail("recvmsg");
  ucred sender{0, static_cast<uid_t>(-1), static_cast<gid_t>(-1)};
  int fds[fdsMax];
  uint32_t count = 0;
  // Not CMSG_NXTHDR: it is a function of glibc's, which musl does not have.
  for (size_t at = 0; at + sizeof(cmsghdr) <= message.msg_controllen;) {
    cmsghdr* item = reinterpret_cast<cmsghdr*>(control + at);
    size_t bytes = item->cmsg_len - CMSG_LEN(0);
    at += CMSG_ALIGN(item->cmsg_len);
    if (item->cmsg_level != SOL_SOCKET) continue;
    if (item->cmsg_type == SCM_CREDENTIALS) memcpy(&sender, CMSG_DATA(item), sizeof sender);
    if (item->cmsg_type != SCM_RIGHTS || bytes > sizeof fds) continue;
    memcpy(fds, CMSG_DATA(item), bytes);
    count = static_cast<uint32_t>(bytes / sizeof(int));
  }
  Napi::Object result = Napi::Object::New(call.env);
  result.Set("length", call.value(static_cast<double>(length)));
  result.Set("pid", call.value(sender.pid));
  result.Set("uid", call.value(sender.uid));
  result.Set("gid", call.value(sender.gid));
  result.Set("fds", call.list(fds, count));
  return result;
}

static Napi::Value send(Call& call) {
  Bytes buffer = call.bytes("buffer");
  uint32_t count;
  int* fds = call.integers("fds", &count);
  iovec part{buffer.data, buffer.length};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (count > 0) {
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    message.msg_control = call.take<char>(message.msg_controllen);
    cmsghdr* item = CMSG_FIRSTHDR(&message);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(item), fds, count * sizeof(int));
  }
  return call.resultOrAgain("sendmsg", retry([&] { return sendmsg(call.fd(), &message, MSG_NOSIGNAL); }));
}

static Napi::Value getSocketName(Call& call) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(call.fd(), reinterpret_cast<sockaddr*>(&address), &length) < 0) return call.fail("getsockname");
  return copyOf(call, &address, length);
}

static Napi::Value setSocketOption(Call& call) {
  int number = call.integer("value", 0);
  Bytes value = call.bytes("value");
  if (!value.data) value = {reinterpret_cast<unsigned char*>(&number), sizeof number};
  return call.done("setsockopt", setsockopt(call.fd(), call.integer("level"), call.integer("name"), value.data, size(value)));
}

static Napi::Value getSocketOption(Call& call) {
  socklen_t length = static_cast<socklen_t>(call.number("length", 4));
  char* value = call.take<char>(length);
  if (getsockopt(call.fd(), call.integer("level"), call.integer("name"), value, &length) < 0) return call.fail("getsockopt");
  return copyOf(call, value, length);
}

static Napi::Value attachReuseportFilter(Call& call) {
  Bytes bytes = call.bytes("program");
  sock_fprog program{static_cast<unsigned short>(bytes.length / sizeof(sock_filter)), reinterpret_cast<sock_filter*>(bytes.data)};
  const int attachReuseportCbpf = 51;
  return call.done("setsockopt", setsockopt(call.fd(), SOL_SOCKET, attachReuseportCbpf, &program, sizeof program));
}

static Napi::Value lock(Call& call) {
  int result = retry([&] { return flock(call.fd(), LOCK_EX | LOCK_NB); });
  if (result < 0 && errno != EWOULDBLOCK) return call.fail("flock");
  return Napi::Boolean::New(call.env, result == 0);
}

static Napi::Value setNonBlocking(Call& call) {
  int flags = fcntl(call.fd(), F_GETFL);
  if (flags < 0) return call.fail("fcntl");
  return call.done("fcntl", fcntl(call.fd(), F_SETFL, call.flag("nonBlocking") ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

void exportSockets(Napi::Object exports) {
  add(exports, "socket", [](Call& call) {
    return call.result("socket", socket(call.integer("family"), typeOf(call), call.integer("protocol", 0)));
  });
  add(exports, "socketPair", [](Call& call) {
    int fds[2];
    return socketpair(AF_UNIX, typeOf(call) | SOCK_NONBLOCK, 0, fds) < 0 ? call.fail("socketpair") : call.list(fds, 2);
  });
  add(exports, "pipe", [](Call& call) {
    int fds[2];
    return pipe2(fds, O_NONBLOCK | (call.flag("private") ? O_CLOEXEC : 0)) < 0 ? call.fail("pipe") : call.list(fds, 2);
  });
  add(exports, "bind", [](Call& call) {
    Bytes address = call.bytes("address");
    return call.done("bind", bind(call.fd(), addressOf(address), size(address)));
  });
  add(exports, "connect", [](Call& call) {
    Bytes address = call.bytes("address");
    return call.done("connect", retry([&] { return connect(call.fd(), addressOf(address), size(address)); }));
  });
  add(exports, "listen", [](Call& call) { return call.done("listen", listen(call.fd(), call.integer("backlog", 128))); });
  add(exports, "accept", [](Call& call) {
    return call.resultOrAgain("accept", retry([&] { return accept4(call.fd(), nullptr, nullptr, SOCK_NONBLOCK); }));
  });
  add(exports, "read", [](Call& call) {
    Bytes buffer = call.bytes("buffer");
    if (!call.flag("peek")) return call.resultOrAgain("read", retry([&] { return read(call.fd(), buffer.data, buffer.length); }));
    iovec part = {buffer.data, buffer.length};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    return call.resultOrAgain("recvmsg", retry([&] { return recvmsg(call.fd(), &message, MSG_PEEK | MSG_DONTWAIT); }));
  });
  add(exports, "write", [](Call& call) {
    Bytes buffer = call.bytes("buffer");
    return call.resultOrAgain("write", retry([&] { return write(call.fd(), buffer.data, buffer.length); }));
  });
  add(exports, "memoryFile", [](Call& call) {
    const unsigned closeOnExec = 1;
    return call.result("memfd_create", syscall(SYS_memfd_create, call.text("name"), call.flag("private") ? closeOnExec : 0));
  });
  add(exports, "setInheritable", [](Call& call) {
    return call.done("fcntl", fcntl(call.fd(), F_SETFD, call.flag("inheritable") ? 0 : FD_CLOEXEC));
  });
  add(exports, "isInheritable", [](Call& call) -> Napi::Value {
    int flags = fcntl(call.fd(), F_GETFD);
    return flags < 0 ? call.fail("fcntl") : Napi::Boolean::New(call.env, !(flags & FD_CLOEXEC));
  });
  add(exports, "isTerminal", [](Call& call) -> Napi::Value { return Napi::Boolean::New(call.env, isatty(call.fd()) == 1); });
  add(exports, "receive", receive);
  add(exports, "send", send);
  add(exports, "getSocketName", getSocketName);
  add(exports, "setSocketOption", setSocketOption);
  add(exports, "getSocketOption", getSocketOption);
  add(exports, "attachReuseportFilter", attachReuseportFilter);
  add(exports, "setNonBlocking", setNonBlocking);
  add(exports, "lock", lock);
}
