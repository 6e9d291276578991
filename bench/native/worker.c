/*
 * The worker of every run: takes a listening socket from whichever supervisor started it, answers each connection with its
 * own pid, and writes down when it began (BENCH_STAMP) and when it was ready.
 *
 *   BENCH_STAMP    file of 16-byte records {u64 CLOCK_MONOTONIC ns, u32 pid, u32 kind}: 1 began, 2 ready
 *   BENCH_BOOT_MS  how long it pretends to load
 *   BENCH_ACK      say worker:ack to EINHORN_SOCK_PATH when ready
 *   BENCH_WORK_US  CPU time of one request
 *   BENCH_PORT     port to bind where no socket was inherited
 *   BENCH_EXCLUSIVE  EPOLLEXCLUSIVE
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stopping;
static void stop(int signal) { stopping = signal; }

static uint64_t now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void stamp(uint64_t at, uint32_t kind) {
  const char* file = getenv("BENCH_STAMP");
  if (!file) return;
  int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  struct { uint64_t at; uint32_t pid, kind; } record = {at, (uint32_t)getpid(), kind};
  if (fd < 0 || write(fd, &record, sizeof record) < 0) _exit(3);
  close(fd);
}

static void acknowledge(void) {
  const char* path = getenv("EINHORN_SOCK_PATH");
  if (!path || !getenv("BENCH_ACK")) return;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path, path, strnlen(path, sizeof address.sun_path));
  if (path[0] == '@') address.sun_path[0] = 0;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  char line[80];
  int length = snprintf(line, sizeof line, "{\"command\":\"worker:ack\",\"pid\":%d}\n", getpid());
  if (connect(fd, (struct sockaddr*)&address, sizeof address) < 0 || write(fd, line, (size_t)length) != length) _exit(4);
  close(fd);
}

static int listener(void) {
  const char* value;
  if ((value = getenv("EINHORN_FD_0"))) return atoi(value);
  if ((value = getenv("SERVER_STARTER_PORT")) && (value = strrchr(value, '='))) return atoi(value + 1);
  if (getenv("LISTEN_FDS")) return 3;
  if (!(value = getenv("BENCH_PORT"))) return -1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(value)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
  if (bind(fd, (struct sockaddr*)&address, sizeof address) < 0 || listen(fd, 1024) < 0) _exit(5);
  return fd;
}

static void answer(int fd, uint64_t work) {
  char request[512], reply[128];
  struct timeval patience = {2, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ssize_t got;
  // With a timeout set, a signal ends the read whatever SA_RESTART says (signal(7)).
  do got = read(fd, request, sizeof request);
  while (got < 0 && errno == EINTR);
  if (got > 0) {
    for (uint64_t until = now(CLOCK_THREAD_CPUTIME_ID) + work; work && now(CLOCK_THREAD_CPUTIME_ID) < until;) {}
    int length = snprintf(reply, sizeof reply, "HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\n%010d\n", getpid());
    if (write(fd, reply, (size_t)length) != length) { /* the client counts it */ }
  }
  close(fd);
}

int main(void) {
  uint64_t born = now(CLOCK_MONOTONIC);
  const int signals[] = {SIGTERM, SIGUSR2, SIGINT, SIGQUIT, SIGHUP};
  struct sigaction action = {.sa_handler = stop};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
  stamp(born, 1);
  if (getenv("BENCH_BOOT_MS")) usleep((useconds_t)atoi(getenv("BENCH_BOOT_MS")) * 1000);
  int fd = listener();
  int set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN | (getenv("BENCH_EXCLUSIVE") ? EPOLLEXCLUSIVE : 0)};
  if (fd >= 0) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
  }
  acknowledge();
  stamp(now(CLOCK_MONOTONIC), 2);
  uint64_t work = getenv("BENCH_WORK_US") ? strtoull(getenv("BENCH_WORK_US"), NULL, 10) * 1000 : 0;
  while (!stopping) {
    if (epoll_wait(set, &event, 1, -1) <= 0) continue;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    if (client >= 0) answer(client, work);
  }
  return 0;
}
