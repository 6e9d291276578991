/* What Debian's libstdc++ and libgcc take from glibc and musl does not offer; for the musl Node of the tests only (musl-node.sh). */
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

char __libc_single_threaded = 0;
struct { unsigned vendor, type, subtype, features[1]; } __cpu_model;
unsigned __cpu_features2[8];

int __cpu_indicator_init(void) { return 0; }

unsigned arc4random(void) {
  unsigned value = 0;
  getrandom(&value, sizeof value, 0);
  return value;
}

int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *library) {
  (void)destroy, (void)object, (void)library;
  return 0;
}

size_t __strftime_l(char *out, size_t size, const char *format, const struct tm *time, locale_t locale) {
  return strftime_l(out, size, format, time, locale);
}

int _dl_find_object(void *address, void *result) {
  (void)address, (void)result;
  return -1;
}

/* std::string::_M_replace_cold of GCC 13: replace `old` bytes at `at` by `count` bytes that may lie in the string itself. */
void replace_cold(void *self, char *at, size_t old, const char *from, size_t count, size_t tail)
    __asm__("_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE15_M_replace_coldEPcmPKcmm");

void replace_cold(void *self, char *at, size_t old, const char *from, size_t count, size_t tail) {
  char *copy = malloc(count + 1);
  (void)self;
  memcpy(copy, from, count);
  memmove(at + count, at + old, tail);
  memcpy(at, copy, count);
  free(copy);
}
