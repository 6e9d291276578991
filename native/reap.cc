/** reap(): every dead child, whosever it was. */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "errors.h"

namespace {

double milliseconds(const timeval& time) { return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3; }

Napi::Value reap(const Napi::CallbackInfo& info) {
  Call call(info);
  Napi::Env env = info.Env();
  Napi::Array deaths = Napi::Array::New(env);
  bool childless = false;
  int64_t limit = call.number("limit", 1);
  rearmSigchld();
  for (uint32_t n = 0; n < limit; n++) {
    int status;
    rusage usage;
    pid_t pid = retry([&] { return wait4(-1, &status, WNOHANG, &usage); });
    if (pid < 0 && errno != ECHILD) return call.fail("wait4");
    childless = pid < 0;
    if (pid <= 0) break;
    Napi::Object death = Napi::Object::New(env);
    death.Set("pid", Napi::Number::New(env, pid));
    death.Set("code", WIFEXITED(status) ? Napi::Number::New(env, WEXITSTATUS(status)) : env.Null());
    death.Set("signal", WIFSIGNALED(status) ? Napi::Number::New(env, WTERMSIG(status)) : env.Null());
    death.Set("cpuMs", Napi::Number::New(env, milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime)));
    death.Set("maxRssBytes", Napi::Number::New(env, static_cast<double>(usage.ru_maxrss) * 1024));
    deaths.Set(n, death);
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("deaths", deaths);
  result.Set("childless", Napi::Boolean::New(env, childless));
  return result;
}

Napi::Value becomeSubreaper(const Napi::CallbackInfo& info) {
  return Call(info).result("prctl", prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
}

}  // namespace

void exportReap(Napi::Env env, Napi::Object exports) {
  addMethod<reap>(env, exports, "reap");
  addMethod<becomeSubreaper>(env, exports, "becomeSubreaper");
}
