/* A disk that fails, for a process that is started with this library in LD_PRELOAD. These variables are read at each call:
     FAULT_PATH   part of the paths that are affected; without it nothing fails
     FAULT_OP     write, rename, sync or any
     FAULT_KIND   a number of errno; "short": every write stores half of its bytes; "kill": SIGKILL to the process;
                  "stop": SIGSTOP to the process, and the call happens when it is continued
     FAULT_AT     which of these calls fails, counted from 1
     FAULT_RUN    a new value restarts the count */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char run[64];
static long calls;

/* 0: the call proceeds; -1: it fails, with errno; 1: it is short. */
static int fault(const char *op, const char *path) {
  const char *part = getenv("FAULT_PATH"), *wanted = getenv("FAULT_OP"), *kind = getenv("FAULT_KIND");
  if (!part || !wanted || !kind || !strstr(path, part)) return 0;
  if (strcmp(wanted, "any") && strcmp(wanted, op)) return 0;
  if (!strcmp(kind, "short")) return 1;
  const char *now = getenv("FAULT_RUN") ? getenv("FAULT_RUN") : "", *at = getenv("FAULT_AT");
  pthread_mutex_lock(&mutex);
  if (strcmp(run, now)) {
    snprintf(run, sizeof run, "%s", now);
    calls = 0;
  }
  int hit = at && ++calls == atol(at);
  pthread_mutex_unlock(&mutex);
  if (!hit) return 0;
  if (!strcmp(kind, "kill")) {
    kill(getpid(), SIGKILL);
    pause();
  }
  if (!strcmp(kind, "stop")) {
    /* The signal goes to this thread, so that it does not run past this line. */
    raise(SIGSTOP);
    return 0;
  }
  errno = atoi(kind);
  return -1;
}

static int fault_fd(const char *op, int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  int saved = errno;
  ssize_t length = readlink(link, path, sizeof path - 1);
  errno = saved;
  if (length < 0) return 0;
  path[length] = 0;
  return fault(op, path);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
  REAL(write);
  int found = fault_fd("write", fd);
  return found < 0 ? -1 : real(fd, data, found && size > 1 ? size / 2 : size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  REAL(pwrite);
  int found = fault_fd("write", fd);
  return found < 0 ? -1 : real(fd, data, found && size > 1 ? size / 2 : size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  REAL(pwrite64);
  int found = fault_fd("write", fd);
  return found < 0 ? -1 : real(fd, data, found && size > 1 ? size / 2 : size, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(writev);
  return fault_fd("write", fd) < 0 ? -1 : real(fd, parts, count);
}
int rename(const char *from, const char *to) {
  REAL(rename);
  return fault("rename", to) < 0 ? -1 : real(from, to);
}
int fsync(int fd) {
  REAL(fsync);
  return fault_fd("sync", fd) < 0 ? -1 : real(fd);
}
int fdatasync(int fd) {
  REAL(fdatasync);
  return fault_fd("sync", fd) < 0 ? -1 : real(fd);
}
