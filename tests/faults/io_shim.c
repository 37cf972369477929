/* Makes calls of the C library fail, for SQLite in a process that has this in LD_PRELOAD.
 *
 * The file that IO_SHIM names says which: one line, "CALL SUFFIX NTH TIMES ERRNO".
 * CALL is open (for writing), write or sync; SUFFIX is how the file's path ends, or with a *
 * before it what is anywhere in the path. The call number NTH fails, and those after it, TIMES
 * altogether; -1 is for ever. An empty file switches it off. The line is read anew at each
 * call, and the count begins anew when it has changed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char last[512];
static long seen;

/* Read the line by system calls, which are not intercepted. */
static void read_line(char *line, size_t size) {
    const char *control = getenv("IO_SHIM");
    ssize_t length = 0;
    line[0] = 0;
    if (control == NULL) return;
    int file = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    length = syscall(SYS_read, file, line, size - 1);
    syscall(SYS_close, file);
    line[length > 0 ? length : 0] = 0;
}

static int matches(const char *text, const char *suffix) {
    if (*suffix == '*') return strstr(text, suffix + 1) != NULL;
    size_t length = strlen(text), wanted = strlen(suffix);
    return length >= wanted && strcmp(text + length - wanted, suffix) == 0;
}

/* The error that this call is to fail with, or 0. */
static int fault(const char *call, const char *path) {
    char line[512], wanted[32], suffix[256];
    long nth, times;
    int code, result = 0, before = errno;
    read_line(line, sizeof line);
    pthread_mutex_lock(&mutex);
    if (strcmp(line, last) != 0) {
        strcpy(last, line);
        seen = 0;
    }
    if (sscanf(line, "%31s %255s %ld %ld %d", wanted, suffix, &nth, &times, &code) == 5 &&
        strcmp(wanted, call) == 0 && matches(path, suffix)) {
        seen += 1;
        if (seen >= nth && (times < 0 || seen < nth + times)) result = code;
    }
    pthread_mutex_unlock(&mutex);
    errno = before;
    return result;
}

static int fault_on(const char *call, int file) {
    char link[64], path[PATH_MAX];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return fault(call, path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                                   \
    int name(const char *path, int flags, ...) {                                     \
        mode_t mode = 0;                                                             \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                       \
            va_list arguments;                                                       \
            va_start(arguments, flags);                                              \
            mode = va_arg(arguments, mode_t);                                        \
            va_end(arguments);                                                       \
        }                                                                            \
        int code = (flags & O_ACCMODE) == O_RDONLY ? 0 : fault("open", path);        \
        if (code) {                                                                  \
            errno = code;                                                            \
            return -1;                                                               \
        }                                                                            \
        return NEXT(name)(path, flags, mode);                                        \
    }

#define WRITE(name, offset_type)                                                     \
    ssize_t name(int file, const void *data, size_t size, offset_type offset) {      \
        int code = fault_on("write", file);                                          \
        if (code) {                                                                  \
            errno = code;                                                            \
            return -1;                                                               \
        }                                                                            \
        return NEXT(name)(file, data, size, offset);                                 \
    }

#define SYNC(name)                                                                   \
    int name(int file) {                                                             \
        int code = fault_on("sync", file);                                           \
        if (code) {                                                                  \
            errno = code;                                                            \
            return -1;                                                               \
        }                                                                            \
        return NEXT(name)(file);                                                     \
    }

OPEN(open)
OPEN(open64)
WRITE(pwrite, off_t)
WRITE(pwrite64, off64_t)
SYNC(fsync)
SYNC(fdatasync)

ssize_t write(int file, const void *data, size_t size) {
    int code = fault_on("write", file);
    if (code) {
        errno = code;
        return -1;
    }
    return NEXT(write)(file, data, size);
}
