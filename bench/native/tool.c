/*
 * What the runs need beside workers and load, and the physical limits to compare with:
 *   launch CMD...         writes a stamp of kind 0 to BENCH_STAMP and becomes CMD
 *   timed CMD...          runs CMD to its end, prints the wall time in ns
 *   claim MB              touches so much fresh memory and gives it back
 *   spawn N CMD...        the limit of a supervisor: a posix_spawn loop and a waitpid loop that starts anew whoever died
 *   reaper CMD...         the limit of a PID 1: starts CMD, waitpid(-1) until it has ended
 *   orphans N             below a PID 1: leaves it N orphans; prints its CPU ns and the most children it ever had
 *   ask PATH COUNT LINE   sends LINE and reads the reply COUNT times on one connection; prints the wall time in ns
 *   command PATH LINE     sends LINE and reads until the last of its replies; prints {"tookNs": N, "reply": REPLY}
 *   gap PATH SECONDS      connects and asks all the time; prints the longest that an answer took in ns
 *   http PORT PATH COUNT  asks by HTTP, a connection each; prints the median and the longest time to the whole answer in ns
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char** environ;

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static int fail(const char* what) {
  perror(what);
  return 1;
}

static int launch(char** command) {
  struct { uint64_t at; uint32_t pid, kind; } record = {0, (uint32_t)getpid(), 0};
  int fd = open(getenv("BENCH_STAMP"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  record.at = now();
  if (fd < 0 || write(fd, &record, sizeof record) < 0) return fail("BENCH_STAMP");
  execvp(command[0], command);
  return fail(command[0]);
}

static int timed(char** command) {
  pid_t pid;
  int status;
  uint64_t began = now();
  if (posix_spawnp(&pid, command[0], NULL, NULL, command, environ) != 0) return fail(command[0]);
  waitpid(pid, &status, 0);
  printf("%llu\n", (unsigned long long)(now() - began));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* A virtual machine's host may have taken free memory away, and each page then costs its next user up to 50 us. */
static int claim(int megabytes) {
  size_t size = (size_t)megabytes << 20;
  volatile char* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail("mmap");
  for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
  printf("%zu\n", size);
  return 0;
}

static volatile sig_atomic_t stopping;
static void stop(int signal) { stopping = signal; }

static int supervise(int number, char** command) {
  pid_t* pids = calloc((size_t)number, sizeof *pids);
  struct sigaction action = {.sa_handler = stop};
  sigaction(SIGTERM, &action, NULL);
  for (int i = 0; i < number; i++)
    if (posix_spawnp(&pids[i], command[0], NULL, NULL, command, environ) != 0) return fail(command[0]);
  for (;;) {
    pid_t pid = stopping ? -1 : waitpid(-1, NULL, 0);
    if (stopping) break;
    for (int i = 0; i < number; i++)
      if (pids[i] == pid && posix_spawnp(&pids[i], command[0], NULL, NULL, command, environ) != 0) return fail(command[0]);
  }
  for (int i = 0; i < number; i++) kill(pids[i], SIGTERM);
  while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) {}
  return 0;
}

static int reaper(char** command) {
  pid_t first, pid;
  if (posix_spawnp(&first, command[0], NULL, NULL, command, environ) != 0) return fail(command[0]);
  do pid = waitpid(-1, NULL, 0);
  while (pid != first);
  return 0;
}

static int readFile(const char* path, char* text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n, length = 0;
  while (fd >= 0 && (n = read(fd, text + length, size - 1 - (size_t)length)) > 0) length += n;
  text[length] = 0;
  if (fd >= 0) close(fd);
  return (int)length;
}

/** CPU time of all threads of PID 1 (sched(7): the first field of schedstat, in ns). */
static uint64_t cpuOfInit(void) {
  uint64_t sum = 0;
  DIR* tasks = opendir("/proc/1/task");
  for (struct dirent* entry; tasks && (entry = readdir(tasks));) {
    char path[300], text[200];
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/1/task/%s/schedstat", entry->d_name);
    if (readFile(path, text, sizeof text) > 0) sum += strtoull(text, NULL, 10);
  }
  closedir(tasks);
  return sum;
}

static int childrenOfInit(void) {
  static char text[1 << 21];
  int children = 0;
  readFile("/proc/1/task/1/children", text, sizeof text);
  for (char* c = text; *c; c++) children += *c == ' ';
  return children;
}

/** Samples in a process of its own, so that the making of orphans does not wait for it. */
static pid_t sampler(int results) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  struct sigaction action = {.sa_handler = stop};
  sigaction(SIGTERM, &action, NULL);
  int most = 0;
  while (!stopping) {
    int children = childrenOfInit();
    if (children > most) most = children;
    usleep(1000);
  }
  if (write(results, &most, sizeof most) < 0) _exit(1);
  _exit(0);
}

static int orphans(int number) {
  int results[2], most = 0;
  usleep(300000);  // The supervisor has its own start behind it.
  int usual = childrenOfInit();
  uint64_t cpu = cpuOfInit(), began = now();
  if (pipe(results) < 0) return fail("pipe");
  pid_t sampling = sampler(results[1]);
  for (int i = 0; i < number; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      if (fork() == 0) _exit(0);
      _exit(0);
    }
    waitpid(pid, NULL, 0);
  }
  uint64_t made = now();
  while (childrenOfInit() > usual && now() < made + 10000000000ull) usleep(1000);
  int left = childrenOfInit() - usual;
  uint64_t done = now();
  kill(sampling, SIGTERM);
  if (read(results[0], &most, sizeof most) < 0) return fail("read");
  waitpid(sampling, NULL, 0);
  usleep(100000);
  printf("{\"cpuNs\":%llu,\"most\":%d,\"left\":%d,\"makeNs\":%llu,\"reapNs\":%llu}\n", (unsigned long long)(cpuOfInit() - cpu), most - usual, left,
         (unsigned long long)(made - began), (unsigned long long)(done - made));
  return 0;
}

static int dial(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr*)&address, sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

/** One request, one reply; false when the connection broke. */
static int roundTrip(int fd, const char* line, size_t length) {
  static char reply[1 << 20];
  if (write(fd, line, length) != (ssize_t)length) return 0;
  for (;;) {
    ssize_t n = read(fd, reply, sizeof reply);
    if (n <= 0) return 0;
    if (reply[n - 1] == '\n') return 1;
  }
}

static int ask(const char* path, int count, const char* words) {
  char line[1000];
  size_t length = (size_t)snprintf(line, sizeof line, "%s\n", words);
  int fd = dial(path);
  if (fd < 0) return fail(path);
  for (int i = 0; i < count / 10 + 1; i++)
    if (!roundTrip(fd, line, length)) return fail("warm-up");
  uint64_t began = now();
  for (int i = 0; i < count; i++)
    if (!roundTrip(fd, line, length)) return fail("request");
  printf("%llu\n", (unsigned long long)(now() - began));
  return 0;
}

/** Replies that others follow say "wait":true. */
static int command(const char* path, const char* words) {
  char reply[1 << 16];
  int fd = dial(path);
  if (fd < 0) return fail(path);
  FILE* stream = fdopen(fd, "r+");
  uint64_t began = now();
  if (dprintf(fd, "%s\n", words) < 0) return fail("request");
  do
    if (!fgets(reply, sizeof reply, stream)) return fail("no last reply");
  while (strstr(reply, "\"wait\":true"));
  printf("{\"tookNs\":%llu,\"reply\":%s}\n", (unsigned long long)(now() - began), reply);
  return 0;
}

static int gap(const char* path, double seconds) {
  static const char line[] = "{\"command\":\"ehlo\"}\n";
  uint64_t longest = 0, asked = 0, failed = 0;
  for (uint64_t until = now() + (uint64_t)(seconds * 1e9), began; (began = now()) < until; asked++) {
    int fd = dial(path);
    if (fd < 0 || !roundTrip(fd, line, sizeof line - 1)) failed++;
    if (fd >= 0) close(fd);
    if (now() - began > longest) longest = now() - began;
    usleep(1000);
  }
  printf("{\"longestNs\":%llu,\"asked\":%llu,\"failed\":%llu}\n", (unsigned long long)longest, (unsigned long long)asked, (unsigned long long)failed);
  return 0;
}

static int byNumber(const void* a, const void* b) {
  uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
  return x < y ? -1 : x > y;
}

static int http(int port, const char* path, int count) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  uint64_t* times = calloc((size_t)count, sizeof *times);
  char request[300], reply[4096];
  int length = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", path);
  for (int i = 0; i < count; i++) {
    uint64_t began = now();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr*)&address, sizeof address) < 0 || write(fd, request, (size_t)length) != length) return fail("request");
    ssize_t got = 0, more;
    while ((more = read(fd, reply + got, sizeof reply - (size_t)got)) > 0) got += more;
    close(fd);
    times[i] = now() - began;
    if (got < 12 || memcmp(reply + 8, " 200", 4) != 0) return fail("answer");
    usleep(1000);
  }
  qsort(times, (size_t)count, sizeof *times, byNumber);
  printf("{\"medianNs\":%llu,\"longestNs\":%llu}\n", (unsigned long long)times[count / 2], (unsigned long long)times[count - 1]);
  return 0;
}

int main(int argc, char** argv) {
  const char* mode = argc > 2 ? argv[1] : "";
  signal(SIGPIPE, SIG_IGN);
  if (!strcmp(mode, "launch")) return launch(argv + 2);
  if (!strcmp(mode, "timed")) return timed(argv + 2);
  if (!strcmp(mode, "claim") && argc > 2) return claim(atoi(argv[2]));
  if (!strcmp(mode, "spawn") && argc > 3) return supervise(atoi(argv[2]), argv + 3);
  if (!strcmp(mode, "reaper")) return reaper(argv + 2);
  if (!strcmp(mode, "orphans")) return orphans(atoi(argv[2]));
  if (!strcmp(mode, "ask") && argc > 4) return ask(argv[2], atoi(argv[3]), argv[4]);
  if (!strcmp(mode, "command") && argc > 3) return command(argv[2], argv[3]);
  if (!strcmp(mode, "gap") && argc > 3) return gap(argv[2], atof(argv[3]));
  if (!strcmp(mode, "http") && argc > 4) return http(atoi(argv[2]), argv[3], atoi(argv[4]));
  fprintf(stderr, "usage: see the head of tool.c\n");
  return 2;
}
