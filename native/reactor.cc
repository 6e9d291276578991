/**
 * watch() and onReady(): one epoll set, seen by libuv as one descriptor. libuv never learns of the descriptors in it, so
 * they can go through a re-exec.
 */
#include <poll.h>
#include <sys/epoll.h>

#include "errors.h"

// The few words of libuv that are needed, as in <uv.h>; a handle's size is asked for, so its layout does not matter.
extern "C" {
struct uv_handle_s;
struct uv_loop_s;
size_t uv_handle_size(int type);
int uv_poll_init(uv_loop_s* loop, uv_handle_s* handle, int fd);
int uv_poll_start(uv_handle_s* handle, int events, void (*callback)(uv_handle_s*, int, int));
void uv_ref(uv_handle_s* handle);
void uv_unref(uv_handle_s* handle);
}

namespace {

const int uvPoll = 8, uvReadable = 1;

napi_env environment;
napi_ref callback;
napi_async_context context;
uv_handle_s* handle;
int set = -1;
int watched = 0;
char* isWatched;  // by descriptor
int isWatchedSize = 0;

/** A callback that throws ends like any uncaught exception, and the other descriptors still have their turn. */
void call(int fd, uint32_t events) {
  Napi::Env env(environment);
  Napi::HandleScope scope(env);
  napi_value function, arguments[2], result;
  if (!callback || napi_get_reference_value(env, callback, &function) != napi_ok || !function) return;
  arguments[0] = Napi::Number::New(env, fd);
  arguments[1] = Napi::Number::New(env, ((events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)) ? 1 : 0) | ((events & EPOLLOUT) ? 2 : 0));
  if (napi_make_callback(env, context, env.Global(), function, 2, arguments, &result) == napi_ok) return;
  bool pending = false;
  napi_value error;
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending && napi_get_and_clear_last_exception(env, &error) == napi_ok)
    napi_fatal_exception(env, error);
}

void onReadable(uv_handle_s*, int, int) {
  epoll_event ready[64];
  int count = retry([&] { return epoll_wait(set, ready, 64, 0); });
  for (int i = 0; i < count; i++) call(ready[i].data.fd, ready[i].events);
}

/** Null, or which call failed: errno says how, and nothing is left of it, so that the next watch() tries again. */
const char* start(napi_env env) {
  uv_loop_s* loop = nullptr;
  int made = epoll_create1(EPOLL_CLOEXEC);
  if (made < 0) return "epoll_create1";
  auto created = static_cast<uv_handle_s*>(calloc(1, uv_handle_size(uvPoll)));
  int error = created && napi_get_uv_event_loop(env, &loop) == napi_ok ? uv_poll_init(loop, created, made) : -ENOMEM;
  if (error) {
    free(created);
    close(made);
    errno = -error;
    return "uv_poll_init";
  }
  set = made;
  handle = created;
  uv_poll_start(handle, uvReadable, onReadable);
  uv_unref(handle);
  return nullptr;
}

Napi::Value watch(Call& call) {
  if (set < 0)
    if (const char* failed = start(call.env)) return call.fail(failed);
  int fd = call.fd(), wanted = call.integer("events", 0);
  epoll_event event{};
  event.data.fd = fd;
  event.events = ((wanted & 1) ? EPOLLIN | EPOLLRDHUP : 0u) | ((wanted & 2) ? EPOLLOUT : 0u);
  if (fd < 0) return call.fail("epoll_ctl", EBADF);
  if (fd >= isWatchedSize) {
    char* larger = static_cast<char*>(realloc(isWatched, static_cast<size_t>(fd) * 2 + 64));
    if (!larger) return call.fail("realloc");
    memset(larger + isWatchedSize, 0, static_cast<size_t>(fd * 2 + 64 - isWatchedSize));
    isWatched = larger;
    isWatchedSize = fd * 2 + 64;
  }
  int before = watched;
  if (wanted == 0) {
    epoll_ctl(set, EPOLL_CTL_DEL, fd, nullptr);  // A closed descriptor has left the set by itself: no error.
    watched -= isWatched[fd];
    isWatched[fd] = 0;
  } else {
    if (epoll_ctl(set, EPOLL_CTL_MOD, fd, &event) < 0 && (errno != ENOENT || epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0))
      return call.fail("epoll_ctl");
    watched += 1 - isWatched[fd];
    isWatched[fd] = 1;
  }
  if (before == 0 && watched > 0) uv_ref(handle);
  if (before > 0 && watched == 0) uv_unref(handle);
  return call.env.Undefined();
}

Napi::Value onReady(Call& call) {
  if (callback) napi_delete_reference(call.env, callback);
  callback = nullptr;
  environment = call.env;
  if (!context) napi_async_init(call.env, nullptr, Napi::String::New(call.env, "einhorn"), &context);
  napi_create_reference(call.env, call.options, 1, &callback);
  return call.env.Undefined();
}

Napi::Value pollNow(Call& call) {
  int wanted = call.integer("events", 0);
  pollfd entry{call.fd(), static_cast<short>(((wanted & 1) ? POLLIN : 0) | ((wanted & 2) ? POLLOUT : 0)), 0};
  if (retry([&] { return poll(&entry, 1, 0); }) < 0) return call.fail("poll");
  if (entry.revents & POLLNVAL) return call.fail("poll", EBADF);
  return call.value((((entry.revents & POLLOUT) ? 2 : 0) | ((entry.revents & (POLLIN | POLLERR | POLLHUP)) ? 1 : 0)) & wanted);
}

}  // namespace

void exportReactor(Napi::Object exports) {
  add(exports, "watch", watch);
  add(exports, "onReady", onReady);
  add(exports, "poll", pollNow);
}
