/*
 * load PORT SECONDS CONCURRENCY [RATE]: one request per connection; whatever is not a whole reply is counted by what it was.
 * With RATE (per second) requests start on schedule whatever the replies do, and latency counts from the schedule. SIGTERM
 * ends it early. Prints one line of JSON; latencies in microseconds, `workers` maps the pid that answered to its replies.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { maxConcurrency = 1024, maxWorkers = 8192, replyBytes = 50, patienceMs = 5000 };
static const char request[] = "GET / HTTP/1.0\r\n\r\n";
static volatile sig_atomic_t stopping;
static void stop(int signal) { stopping = signal; }

struct slot { int fd, got, sent; uint64_t began; char reply[64]; };
static struct slot slots[maxConcurrency];
static int freeSlots[maxConcurrency], freeCount, set;
static uint32_t* latencies;
static size_t count, room;
static unsigned long refused, reset, cut, timedOut, other;
static struct { int pid; unsigned long replies; } workers[maxWorkers];
static int workerCount;

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static int byNumber(const void* a, const void* b) {
  uint32_t x = *(const uint32_t*)a, y = *(const uint32_t*)b;
  return x < y ? -1 : x > y;
}

static void failed(int error) {
  if (error == ECONNREFUSED) refused++;
  else if (error == ECONNRESET || error == EPIPE) reset++;
  else other++;
}

static void end(struct slot* s) {
  close(s->fd);
  s->fd = -1;
  freeSlots[freeCount++] = (int)(s - slots);
}

static void credit(int pid) {
  int i = 0;
  while (i < workerCount && workers[i].pid != pid) i++;
  if (i == workerCount && workerCount < maxWorkers) workers[workerCount++].pid = pid;
  if (i < maxWorkers) workers[i].replies++;
}

static void finished(struct slot* s) {
  if (s->got != replyBytes || memcmp(s->reply, "HTTP/1.0 200 OK\r\n", 17) != 0) {
    cut++;
    return;
  }
  if (count == room) latencies = realloc(latencies, (room = room ? room * 2 : 65536) * sizeof *latencies);
  latencies[count++] = (uint32_t)((now() - s->began) / 1000);
  credit(atoi(s->reply + replyBytes - 11));
}

static void begin(const struct sockaddr_in* address, uint64_t at) {
  struct slot* s = &slots[freeSlots[--freeCount]];
  s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  s->got = s->sent = 0;
  s->began = at;
  if (s->fd < 0 || (connect(s->fd, (const struct sockaddr*)address, sizeof *address) < 0 && errno != EINPROGRESS)) {
    failed(errno);
    return end(s);
  }
  struct epoll_event event = {.events = EPOLLOUT, .data.ptr = s};
  epoll_ctl(set, EPOLL_CTL_ADD, s->fd, &event);
}

static void go(struct slot* s) {
  if (!s->sent) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (!error && send(s->fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0) error = errno;
    if (error) {
      failed(error);
      return end(s);
    }
    s->sent = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    epoll_ctl(set, EPOLL_CTL_MOD, s->fd, &event);
    return;
  }
  ssize_t n = recv(s->fd, s->reply + s->got, sizeof s->reply - (size_t)s->got, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n > 0 && (s->got += (int)n) < (int)sizeof s->reply) return;
  if (n < 0) failed(errno);
  else finished(s);
  end(s);
}

static void expire(uint64_t at) {
  for (int i = 0; i < maxConcurrency; i++)
    if (slots[i].fd >= 0 && at > slots[i].began + patienceMs * 1000000ull) {
      timedOut++;
      end(&slots[i]);
    }
}

static uint32_t percentile(double share) { return count ? latencies[(size_t)((double)(count - 1) * share)] : 0; }

static void report(double seconds) {
  qsort(latencies, count, sizeof *latencies, byNumber);
  printf("{\"ok\":%zu,\"failed\":%lu,\"refused\":%lu,\"reset\":%lu,\"short\":%lu,\"timedOut\":%lu,\"other\":%lu,", count,
         refused + reset + cut + timedOut + other, refused, reset, cut, timedOut, other);
  printf("\"perSecond\":%.0f,\"p50\":%u,\"p99\":%u,\"max\":%u,\"workers\":{", (double)count / seconds, percentile(0.5), percentile(0.99), percentile(1));
  for (int i = 0; i < workerCount; i++) printf("%s\"%d\":%lu", i ? "," : "", workers[i].pid, workers[i].replies);
  printf("}}\n");
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  int concurrency = atoi(argv[3]);
  double rate = argc > 4 ? atof(argv[4]) : 0;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  signal(SIGTERM, stop);
  set = epoll_create1(0);
  for (int i = 0; i < maxConcurrency; i++) slots[i].fd = -1;
  for (int i = 0; i < concurrency && i < maxConcurrency; i++) freeSlots[freeCount++] = i;
  int limit = freeCount;
  uint64_t start = now(), stopAt = start + (uint64_t)(atof(argv[2]) * 1e9), started = 0, looked = start;
  for (;;) {
    uint64_t at = now();
    int ending = stopping || at >= stopAt;
    if (ending && freeCount == limit) break;
    if (!ending && rate > 0)
      for (uint64_t due; freeCount > 0 && (due = start + (uint64_t)((double)started / rate * 1e9)) <= at; started++) begin(&address, due);
    else if (!ending)
      while (freeCount > 0) begin(&address, at);
    struct epoll_event events[256];
    int n = epoll_wait(set, events, 256, rate > 0 ? 1 : 50);
    for (int i = 0; i < n; i++) go(events[i].data.ptr);
    if (at > looked + 200000000ull) expire(looked = at);
  }
  report((double)(now() - start) / 1e9);
  return 0;
}
