/*
 * An HTTP server written for socket activation (sd_listen_fds(3)) in plain C: LISTEN_FDS, READY=1 on NOTIFY_SOCKET, SIGTERM.
 * It knows nothing of einhorn. One connection at a time, one answer each.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SD_LISTEN_FDS_START 3

static volatile sig_atomic_t stopping;

static void stop(int signal_number) {
  (void)signal_number;
  stopping = 1;
}

static int notify(const char *state) {
  const char *path = getenv("NOTIFY_SOCKET");
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  if (path == NULL) return 0;
  if (strlen(path) >= sizeof to.sun_path) return -1;
  memcpy(to.sun_path, path, strlen(path));
  if (path[0] == '@') to.sun_path[0] = '\0';
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  socklen_t length = offsetof(struct sockaddr_un, sun_path) + strlen(path);
  ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, length);
  close(fd);
  return sent < 0 ? -1 : 0;
}

static const char *variable(const char *name) {
  const char *value = getenv(name);
  return value ? value : "-";
}

static void serve(int client) {
  char request[8192];
  size_t length = 0;
  do {
    ssize_t got = recv(client, request + length, sizeof request - 1 - length, 0);
    if (got <= 0) return;
    length += (size_t)got;
    request[length] = '\0';
  } while (strstr(request, "\r\n\r\n") == NULL && length < sizeof request - 1);
  char body[128], reply[512];
  snprintf(body, sizeof body, "c-systemd generation=%s slot=%s pid=%d\n", variable("EINHORN_GENERATION"),
           variable("EINHORN_CHILD_INDEX"), (int)getpid());
  int size = snprintf(reply, sizeof reply,
                      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                      strlen(body), body);
  send(client, reply, (size_t)size, MSG_NOSIGNAL);
}

int main(void) {
  const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
  if (pid == NULL || count == NULL || atoi(pid) != (int)getpid() || atoi(count) < 1) {
    fputs("No inherited socket (LISTEN_PID, LISTEN_FDS): start me by systemd or einhorn.\n", stderr);
    return 1;
  }
  int listener = SD_LISTEN_FDS_START;
  /* All workers wait for the same socket: another may have been faster, so accepting must not block. */
  fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK);

  /* The signal is blocked except inside ppoll: it cannot fall between the question and the wait. */
  sigset_t blocked, open;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigprocmask(SIG_BLOCK, &blocked, &open);
  sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);

  if (notify("READY=1") < 0) perror("NOTIFY_SOCKET");
  while (!stopping) {
    struct pollfd ready = {.fd = listener, .events = POLLIN};
    if (ppoll(&ready, 1, NULL, &open) <= 0) continue;
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0) continue;
    serve(client);
    close(client);
  }
  return 0;
}
