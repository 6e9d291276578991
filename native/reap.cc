/** reap(): every dead child, whosever it was. */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "errors.h"

static double milliseconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
}

/** Binary search; `known` is sorted. */
static bool isKnown(const int32_t* known, size_t length, int32_t pid) {
  size_t low = 0;
  for (size_t high = length; low < high;) {
    size_t middle = (low + high) / 2;
    if (known[middle] < pid) low = middle + 1;
    else high = middle;
  }
  return low < length && known[low] == pid;
}

static Napi::Value reap(Call& call) {
  Bytes known = call.bytes("known");
  uint32_t strangers = 0, taken = 0;
  Napi::Array deaths = Napi::Array::New(call.env);
  bool childless = false;
  int64_t limit = call.number("limit", 1);
  hearSigchld(call.flag("rearm", true));
  for (uint32_t n = 0; n < limit; n++) {
    int status;
    rusage usage;
    pid_t pid = retry([&] { return wait4(-1, &status, WNOHANG, &usage); });
    if (pid < 0 && errno != ECHILD) return call.fail("wait4");
    childless = pid < 0;
    if (pid <= 0) break;
    taken++;
    if (known.data && !isKnown(reinterpret_cast<const int32_t*>(known.data), known.length, pid)) {
      strangers++;
      continue;
    }
    Napi::Object death = Napi::Object::New(call.env);
    death.Set("pid", call.value(pid));
    death.Set("code", WIFEXITED(status) ? call.value(WEXITSTATUS(status)) : call.env.Null());
    death.Set("signal", WIFSIGNALED(status) ? call.value(WTERMSIG(status)) : call.env.Null());
    death.Set("cpuMs", call.value(milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime)));
    death.Set("maxRssBytes", call.value(static_cast<double>(usage.ru_maxrss) * 1024));
    deaths.Set(taken - 1 - strangers, death);
  }
  Napi::Object result = Napi::Object::New(call.env);
  result.Set("deaths", deaths);
  result.Set("strangers", call.value(strangers));
  result.Set("taken", call.value(taken));
  result.Set("childless", Napi::Boolean::New(call.env, childless));
  return result;
}

void exportReap(Napi::Object exports) {
  add(exports, "reap", reap);
  add(exports, "becomeSubreaper", [](Call& call) { return call.done("prctl", prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)); });
}
