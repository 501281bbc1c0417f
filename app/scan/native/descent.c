/* Opening directories: relative to one another, never through a symbolic link, never across a
 * mount, without a trace. Nothing here knows of sizes. */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core.h"

#ifndef SYS_openat2
#define SYS_openat2 437 /* of every architecture */
#endif

/* linux/openat2.h, which older systems do not have */
struct how {
    uint64_t flags, mode, resolve;
};
enum { NO_CROSSING = 0x01, NO_SYMLINKS = 0x04 };

enum {
    DIRECTORY = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
    STEP = 3800,          /* below PATH_MAX (4096), which limits one call, not the depth of a tree */
    SUBVOLUME_ROOT = 256, /* BTRFS_FIRST_FREE_OBJECTID, btrfs_tree.h */
};

static atomic_bool no_openat2;

static int open_within_mount(int parent, const char *name, int flags)
{
    struct how how = {.flags = (uint64_t)flags, .resolve = NO_CROSSING | NO_SYMLINKS};
    return (int)syscall(SYS_openat2, parent, name, &how, sizeof how);
}

static int open_plain(int parent, const char *name)
{
    /* Reading a directory would move its access time. EPERM: only its owner may prevent that. */
    int fd = openat(parent, name, DIRECTORY | O_NOATIME);
    return fd < 0 && errno == EPERM ? openat(parent, name, DIRECTORY) : fd;
}

/* Open the directory `name` in `parent`. -1 with EXDEV where something is mounted there, though
 * not where openat2(2) cannot be had: see is_foreign(). */
int descend(int parent, const char *name)
{
    if (!atomic_load_explicit(&no_openat2, memory_order_relaxed)) {
        int fd = open_within_mount(parent, name, DIRECTORY | O_NOATIME);
        if (fd < 0 && errno == EPERM)
            fd = open_within_mount(parent, name, DIRECTORY);
        if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
            return fd;
        /* An old kernel, or the filter of a container runtime that does not know the call. */
        atomic_store_explicit(&no_openat2, true, memory_order_relaxed);
    }
    return open_plain(parent, name);
}

/* Open the directory `path`, which may be longer than PATH_MAX. */
int descend_path(const char *path)
{
    if (strlen(path) <= STEP)
        return open_plain(AT_FDCWD, path);
    int fd = open_plain(AT_FDCWD, path[0] == '/' ? "/" : ".");
    for (path += strspn(path, "/"); *path && fd >= 0; path += strspn(path, "/")) {
        char step[STEP + 1];
        size_t length = strnlen(path, STEP + 1);
        while (length > STEP || (path[length] && path[length] != '/'))
            if (--length == 0) {
                close(fd);
                errno = ENAMETOOLONG;
                return -1;
            }
        memcpy(step, path, length);
        step[length] = 0;
        path += length;
        int below = open_plain(fd, step);
        close(fd);
        fd = below;
    }
    return fd;
}

static int only_if(int fd, dev_t device, ino_t inode)
{
    struct stat status;
    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == device && status.st_ino == inode)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Open the directory so many levels above `fd`, at most MOST_ASCENDED, if it is the one expected. */
int ascend(int fd, size_t levels, dev_t device, ino_t inode)
{
    char path[MOST_ASCENDED * 3 + 1];
    for (size_t level = 0; level < levels; level++)
        memcpy(path + level * 3, "../", 3);
    path[levels * 3] = 0;
    return only_if(open_plain(fd, path), device, inode);
}

/* Open a directory again by its names from the unit down, if it is still there. */
int descend_again(const struct unit *unit, const struct opened *here)
{
    size_t depth = 0;
    for (const struct dir *at = here->dir; at->parent; at = at->parent)
        depth++;
    const char **names = malloc((depth + 1) * sizeof *names);
    if (!names)
        return -1;
    const struct dir *at = here->dir;
    for (size_t level = depth; level > 0; level--, at = at->parent)
        names[level - 1] = at->name;
    int fd = descend_path(unit->path);
    for (size_t level = 0; level < depth && fd >= 0; level++) {
        int below = descend(fd, names[level]);
        close(fd);
        fd = below;
    }
    free(names);
    return only_if(fd, here->device, here->inode);
}

/* Whether a directory is on another file system than the directory that it was found in. */
bool is_foreign(const struct stat *directory, dev_t parent, bool subvolumes)
{
    return directory->st_dev != parent && !(subvolumes && directory->st_ino == SUBVOLUME_ROOT);
}

/* The first point in a range that is not before `key`. */
static size_t lower_bound(const struct job *job, const struct points *in, const char *key)
{
    size_t low = in->first, high = in->first + in->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(job->points[middle] + in->skip, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The points that begin with `prefix`, whose last character is a slash. The prefix is changed. */
static struct points beginning_with(const struct job *job, const struct points *in, char *prefix)
{
    size_t length = strlen(prefix);
    size_t first = lower_bound(job, in, prefix);
    prefix[length - 1] = '/' + 1;
    size_t end = lower_bound(job, in, prefix);
    return (struct points){first, end - first, in->skip + length};
}

/* Whether the entry `name` is a mount point; `below` becomes the mount points in it. */
bool points_in(const struct job *job, const struct points *here, const char *name,
               struct points *below)
{
    size_t at = lower_bound(job, here, name);
    if (at < here->first + here->count && strcmp(job->points[at] + here->skip, name) == 0)
        return true;
    char prefix[256 + 2];
    size_t length = strnlen(name, 256);
    memcpy(prefix, name, length);
    memcpy(prefix + length, "/", 2);
    *below = beginning_with(job, here, prefix);
    return false;
}

/* The mount points below a unit, however many symbolic links lead there. */
void points_of_unit(const struct job *job, struct unit *unit)
{
    if (job->point_count == 0)
        return;
    char *real = realpath(unit->path, NULL);
    const char *path = real ? real : unit->path;
    size_t length = strlen(path);
    char *prefix = malloc(length + 2);
    if (prefix) {
        memcpy(prefix, path, length + 1);
        while (length > 0 && prefix[length - 1] == '/')
            length--;
        memcpy(prefix + length, "/", 2);
        struct points all = {0, job->point_count, 0};
        unit->points = beginning_with(job, &all, prefix);
    }
    free(prefix);
    free(real);
}
