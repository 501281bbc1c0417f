/* To be preloaded: a file system that fails, or does not answer, in a process of its own.
 *
 * FAULT_STALE: fstat(2) of the open directory with this inode number fails with ESTALE.
 * FAULT_HANG: the first openat(2) of "../" makes this file and hangs until somebody removes it, for
 * half a minute at most. */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int fstat64(int fd, struct stat64 *status)
{
    int (*really)(int, struct stat64 *) = (int (*)(int, struct stat64 *))dlsym(RTLD_NEXT, "fstat64");
    const char *stale = getenv("FAULT_STALE");
    int done = really(fd, status);
    if (done != 0 || !stale || status->st_ino != strtoull(stale, NULL, 10))
        return done;
    errno = ESTALE;
    return -1;
}

static void hang(const char *sign)
{
    static atomic_bool once;
    if (atomic_exchange(&once, true))
        return;
    close(open(sign, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    for (int i = 0; i < 3000 && access(sign, F_OK) == 0; i++)
        usleep(10000);
}

int openat64(int parent, const char *path, int flags, ...)
{
    int (*really)(int, const char *, int, ...) =
        (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat64");
    const char *sign = getenv("FAULT_HANG");
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (sign && strncmp(path, "../", 3) == 0)
        hang(sign);
    return really(parent, path, flags, mode);
}
