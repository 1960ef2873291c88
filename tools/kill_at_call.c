/*
 * Loaded before the C library (LD_PRELOAD): kills the process at a call that changes the disk.
 *   KILL_UNDER   the folder below which calls count, absolute
 *   KILL_AT      the number of the call before which the process is killed, from 0 on
 * Calls of all threads are counted together; strace counts those of each thread.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static int calls;

static int is_counted(const char *path) {
  const char *under = getenv("KILL_UNDER");
  return under && path && strncmp(path, under, strlen(under)) == 0;
}

static int is_counted_fd(int fd) {
  char link[64];
  char path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  path[length < 0 ? 0 : length] = 0;
  return is_counted(path);
}

static void count(void) {
  const char *at = getenv("KILL_AT");
  if (at && __sync_fetch_and_add(&calls, 1) == atoi(at)) {
    kill(getpid(), SIGKILL);
    for (;;) {
      pause();
    }
  }
}

#define CALL(type, name, counted, parameters, arguments) \
  type name parameters {                                  \
    static type(*real) parameters;                        \
    if (!real) {                                          \
      *(void **)&real = dlsym(RTLD_NEXT, #name);          \
    }                                                     \
    if (counted) {                                        \
      count();                                            \
    }                                                     \
    return real arguments;                                \
  }

CALL(ssize_t, write, is_counted_fd(fd), (int fd, const void *from, size_t length), (fd, from, length))
CALL(ssize_t, pwrite64, is_counted_fd(fd), (int fd, const void *from, size_t length, off64_t at), (fd, from, length, at))
CALL(int, fsync, is_counted_fd(fd), (int fd), (fd))
CALL(int, fdatasync, is_counted_fd(fd), (int fd), (fd))
CALL(int, ftruncate64, is_counted_fd(fd), (int fd, off64_t length), (fd, length))
CALL(int, rename, is_counted(to), (const char *from, const char *to), (from, to))
CALL(int, unlink, is_counted(path), (const char *path), (path))
CALL(int, rmdir, is_counted(path), (const char *path), (path))
CALL(int, mkdir, is_counted(path), (const char *path, mode_t mode), (path, mode))

int open64(const char *path, int flags, ...) {
  static int (*real)(const char *, int, ...);
  if (!real) {
    *(void **)&real = dlsym(RTLD_NEXT, "open64");
  }
  mode_t mode = 0;
  if (flags & O_CREAT) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  if ((flags & O_CREAT) && is_counted(path)) {
    count();
  }
  return real(path, flags, mode);
}
