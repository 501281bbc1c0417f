/* What is in a directory: reading it, examining its entries, and what cannot be read.
 *
 * Counted is what du(1) counts with -x: every inode once, directories and whiteouts included.
 * Whatever vanishes or turns into something else is taken as it is when it is looked at. */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core.h"

enum { JUST_THIS = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT };

/* struct linux_dirent64 of getdents64(2) */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

static struct part *part_of(const struct worker *worker, const struct unit *unit)
{
    return &unit->parts[worker->id];
}

static struct dir *new_dir(struct worker *worker, struct unit *unit, struct dir *parent,
                           const char *name)
{
    size_t length = strlen(name) + 1;
    struct dir *dir = part_space(part_of(worker, unit), sizeof *dir + length);
    if (!dir) {
        fail(worker->job, ENOMEM);
        return NULL;
    }
    *dir = (struct dir){.parent = parent, .state = FOUND};
    memcpy(dir->name, name, length);
    return dir;
}

/* The path of an entry (or of `dir` itself, if it is ""), as far as one can show it; its length.
 * `path` has room for LONGEST_NAMED bytes and a 0. */
size_t path_of(const struct unit *unit, const struct dir *dir, const char *name, char *path)
{
    const char *names[LEVELS_SHOWN + 2] = {unit->path};
    size_t depth = 0, length = 0;
    for (const struct dir *at = dir; at->parent; at = at->parent)
        depth++;
    size_t shown = depth < LEVELS_SHOWN ? depth : LEVELS_SHOWN;
    for (const struct dir *at = dir; at->parent; at = at->parent, depth--)
        if (depth <= shown)
            names[depth] = at->name;
    names[shown + 1] = name;
    for (size_t i = 0; i <= shown + 1; i++) {
        if (i > 0 && length > 0 && length < LONGEST_NAMED && path[length - 1] != '/')
            path[length++] = '/';
        size_t more = strnlen(names[i], LONGEST_NAMED - length);
        memcpy(path + length, names[i], more);
        length += more;
    }
    while (length > 0 && path[length - 1] == '/')
        length--;
    path[length] = 0;
    return length;
}

/* Keep the path of something unreadable, if it is among the first in the order of names. */
static void name_unreadable(struct job *job, struct unit *unit, const struct dir *dir,
                            const char *name)
{
    char path[LONGEST_NAMED + 1];
    path_of(unit, dir, name, path);
    pthread_mutex_lock(&job->lock);
    size_t at = unit->named_count;
    while (at > 0 && strcmp(unit->named[at - 1], path) > 0)
        at--;
    char *copy = at < MOST_NAMED ? strdup(path) : NULL;
    if (copy) {
        if (unit->named_count == MOST_NAMED)
            free(unit->named[--unit->named_count]);
        memmove(&unit->named[at + 1], &unit->named[at],
                (unit->named_count - at) * sizeof unit->named[0]);
        unit->named[at] = copy;
        unit->named_count++;
    }
    pthread_mutex_unlock(&job->lock);
}

static void mark_unreadable(struct worker *worker, struct unit *unit, const struct dir *dir,
                            const char *name, struct findings *found)
{
    found->unreadable++;
    name_unreadable(worker->job, unit, dir, name);
}

/* Let those who look at the news see what was found. */
static void publish(struct unit *unit, const struct findings *found)
{
    atomic_fetch_add_explicit(&unit->entries, found->entries, memory_order_relaxed);
    atomic_fetch_add_explicit(&unit->bytes, found->bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&unit->apparent, found->apparent, memory_order_relaxed);
    atomic_fetch_add_explicit(&unit->inodes, found->inodes + found->fresh, memory_order_relaxed);
    if (found->unreadable)
        atomic_fetch_add_explicit(&unit->unreadable, found->unreadable, memory_order_relaxed);
}

/* Remember the latest change, as UnitResult in tree.py has it, of a directory or of a file in it. */
static void note_change(const struct worker *worker, const struct unit *unit,
                        const struct dir *dir, const struct stat *status)
{
    struct part *part = part_of(worker, unit);
    if (dir->parent && status->st_ctime > part->newest)
        part->newest = status->st_ctime;
}

static void count_directory(const struct worker *worker, struct unit *unit, struct dir *dir,
                            const struct stat *status)
{
    struct findings itself = {.entries = 1, .bytes = allocated(status), .inodes = 1};
    dir->bytes = itself.bytes;
    dir->inodes = 1;
    dir->state = COUNTED;
    note_change(worker, unit, dir, status);
    publish(unit, &itself);
}

static void count_number(struct worker *worker, struct unit *unit, dev_t device, uint64_t inode,
                         struct findings *found)
{
    int fresh = inode_set_add(&part_of(worker, unit)->inodes, device, inode);
    if (fresh < 0)
        fail(worker->job, ENOMEM);
    else
        found->fresh += (uint32_t)fresh;
}

static void count_file(struct worker *worker, struct unit *unit, struct dir *dir,
                       const struct stat *status, struct findings *found)
{
    found->entries++;
    note_change(worker, unit, dir, status);
    if (unit->count_only) {
        count_number(worker, unit, status->st_dev, status->st_ino, found);
    } else if (status->st_nlink > 1) {
        if (!log_link(part_of(worker, unit), dir, status))
            fail(worker->job, ENOMEM);
    } else {
        found->bytes += allocated(status);
        found->apparent += apparent(status);
        found->inodes++;
    }
}

static void note_directory(struct worker *worker, struct opened *here, const char *name,
                           struct findings *found)
{
    if (here->unit->shallow)
        return;
    struct dir *dir = new_dir(worker, here->unit, here->dir, name);
    if (!dir) {
        found->cut = true;
        return;
    }
    dir->next = found->first;
    found->first = dir;
    if (!found->last)
        found->last = dir;
    found->found++;
}

static void examine_entry(struct worker *worker, struct opened *here, const char *name,
                          struct findings *found)
{
    struct stat status;
    if (fstatat(here->fd, name, &status, JUST_THIS) != 0) {
        if (errno != ENOENT)
            mark_unreadable(worker, here->unit, here->dir, name, found);
    } else if (S_ISDIR(status.st_mode)) {
        note_directory(worker, here, name, found);
    } else {
        count_file(worker, here->unit, here->dir, &status, found);
    }
}

static bool is_itself_or_above(const char *name)
{
    return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

/* Examine the entries in a buffer that getdents64(2) has filled; add to what was found. */
static void examine(struct worker *worker, struct opened *here, const char *data, size_t used,
                    struct findings *all)
{
    struct job *job = worker->job;
    struct findings found = {.first = all->first, .last = all->last};
    for (size_t at = 0; at < used;) {
        const struct entry *entry = (const struct entry *)(const void *)(data + at);
        struct points unused;
        at += entry->length;
        if (is_itself_or_above(entry->name) ||
            (here->points.count && points_in(job, &here->points, entry->name, &unused)))
            continue;
        if (atomic_load_explicit(&job->stop, memory_order_relaxed)) {
            found.cut = true;
            break;
        }
        if (entry->type == DT_DIR) {
            note_directory(worker, here, entry->name, &found);
        } else if (here->by_number && entry->type != DT_UNKNOWN) {
            found.entries++;
            count_number(worker, here->unit, here->device, entry->inode, &found);
        } else {
            examine_entry(worker, here, entry->name, &found);
        }
    }
    publish(here->unit, &found);
    all->first = found.first;
    all->last = found.last;
    all->found += found.found;
    all->bytes += found.bytes;
    all->apparent += found.apparent;
    all->inodes += found.inodes;
    all->unreadable += found.unreadable;
    all->cut |= found.cut;
}

/* Read an opened directory to its end. Whether parts of it were handed over to others. */
static bool read_directory(struct worker *worker, struct opened *here, struct findings *found)
{
    bool shared = false;
    for (;;) {
        if (atomic_load_explicit(&worker->job->stop, memory_order_relaxed)) {
            found->cut = true;
            return shared;
        }
        struct batch *batch = worker->batch;
        long got = syscall(SYS_getdents64, here->fd, batch->data, BUFFER_SIZE);
        if (got < 0 && errno != ENOENT) { /* ENOENT: removed meanwhile */
            struct findings failed = {0};
            mark_unreadable(worker, here->unit, here->dir, "", &failed);
            publish(here->unit, &failed);
            found->unreadable++;
        }
        if (got <= 0)
            return shared;
        batch->used = (size_t)got;
        if (got > BUFFER_SIZE / 2 && hand_over(worker, here))
            shared = true;
        else
            examine(worker, here, batch->data, batch->used, found);
        watch(worker, here);
    }
}

/* Whether the inode numbers in a directory's entries are those that stat(2) would give: on these
 * file systems, if the entries could be examined at all. */
static bool numbers_are_exact(const struct unit *unit, int fd, const struct stat *status)
{
    struct stat unused;
    return unit->inode_numbers &&
           ((status->st_mode & 0111) == 0111 || fstatat(fd, ".", &unused, JUST_THIS) == 0);
}

static bool has_inode_numbers(int fd)
{
    struct statfs system;
    if (fstatfs(fd, &system) != 0)
        return false;
    switch ((unsigned long)system.f_type & 0xFFFFFFFF) {
    case 0xEF53:     /* ext2, ext3, ext4; all of these numbers are from linux/magic.h */
    case 0x58465342: /* xfs */
    case 0x9123683E: /* btrfs */
    case 0x01021994: /* tmpfs */
    case 0xF2F52010: /* f2fs */
        return true;
    default:
        return false;
    }
}

/* Walk a directory that has just been opened. It is in state OPEN from here until it is let go. */
static struct opened *walk_opened(struct worker *worker, struct unit *unit, struct dir *dir, int fd,
                                  const struct stat *status, struct points points,
                                  struct findings *found)
{
    struct opened *here = malloc(sizeof *here);
    count_directory(worker, unit, dir, status);
    if (!here) {
        fail(worker->job, ENOMEM);
        dir->cut = true;
        close(fd);
        return NULL;
    }
    *here = (struct opened){
        .dir = dir, .unit = unit, .fd = fd, .device = status->st_dev, .inode = status->st_ino,
        .points = points, .busy = 1,
        .by_number = unit->count_only && numbers_are_exact(unit, fd, status),
    };
    dir->opened = here;
    dir->state = OPEN;
    bool shared = read_directory(worker, here, found);
    if (!shared && !found->first) {
        close(fd);
        here->fd = -1;
    }
    return here;
}

/* Something that was listed as a directory and cannot be opened or examined as one (any more). */
static void count_unopened(struct worker *worker, struct opened *above, int fd, struct dir *dir,
                           struct findings *around)
{
    struct stat status;
    struct unit *unit = above->unit;
    if (fstatat(fd, dir->name, &status, JUST_THIS) != 0) {
        if (errno != ENOENT)
            mark_unreadable(worker, unit, above->dir, dir->name, around);
    } else if (!S_ISDIR(status.st_mode)) {
        count_file(worker, unit, above->dir, &status, around);
    } else if (!is_foreign(&status, above->device, unit->subvolumes)) {
        struct findings itself = {0};
        count_directory(worker, unit, dir, &status);
        mark_unreadable(worker, unit, above->dir, dir->name, &itself);
        publish(unit, &itself);
        dir->unreadable = 1;
    }
}

/* Open a directory in `above`, whose descriptor is `fd`, and read it. NULL if that was not to be. */
static struct opened *open_child(struct worker *worker, struct opened *above, struct dir *dir,
                                 int fd, struct findings *found, struct findings *around)
{
    struct unit *unit = above->unit;
    struct points points = {0};
    struct stat status;
    int own = descend(fd, dir->name);
    if (own < 0) {
        if (errno != EXDEV) /* a mount point */
            count_unopened(worker, above, fd, dir, around);
        return NULL;
    }
    if (fstat(own, &status) != 0) { /* ESTALE, EIO */
        close(own);
        count_unopened(worker, above, fd, dir, around);
        return NULL;
    }
    if (is_foreign(&status, above->device, unit->subvolumes)) {
        close(own);
        return NULL;
    }
    if (above->points.count)
        points_in(worker->job, &above->points, dir->name, &points);
    return walk_opened(worker, unit, dir, own, &status, points, found);
}

/* The descriptor of a directory that was closed for want of descriptors; -1: the way back is lost,
 * the directory was moved elsewhere meanwhile. */
static int reopened(struct job *job, struct opened *here)
{
    int fresh = descend_again(here->unit, here);
    pthread_mutex_lock(&job->lock);
    bool first = here->fd < 0;
    take_descriptor(job, here, fresh);
    if (first && !here->pending)
        reopen_next(job, here);
    int fd = here->fd;
    pthread_mutex_unlock(&job->lock);
    return fd;
}

/* Walk one of the directories in `above`, whose descriptor is `fd`; -1 if it was closed. */
void walk_child(struct worker *worker, struct opened *above, struct dir *dir, int fd)
{
    struct job *job = worker->job;
    struct unit *unit = above->unit;
    struct findings around = {0}, found = {0};
    struct opened *here = NULL;
    dir->state = GONE;
    if (fd < 0)
        fd = reopened(job, above);
    if (fd >= 0)
        here = open_child(worker, above, dir, fd, &found, &around);
    else
        mark_unreadable(worker, unit, above->dir, dir->name, &around);
    publish(unit, &around);

    pthread_mutex_lock(&job->lock);
    settle(job, above, &around);
    if (here) {
        settle(job, here, &found);
        let_go(job, here);
    } else {
        finish_directory(job, unit);
    }
    let_go(job, above);
    pthread_mutex_unlock(&job->lock);
}

/* The unit cannot be opened as a directory: something else, unreadable, or not there. */
static void measure_alone(struct worker *worker, struct unit *unit)
{
    struct stat status;
    struct findings found = {0};
    struct dir *root = unit->root;
    root->state = COUNTED;
    if (fstatat(AT_FDCWD, unit->path, &status, JUST_THIS) != 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            mark_unreadable(worker, unit, root, "", &found);
    } else if (S_ISDIR(status.st_mode)) {
        count_directory(worker, unit, root, &status);
        mark_unreadable(worker, unit, root, "", &found);
    } else {
        count_file(worker, unit, root, &status, &found);
    }
    publish(unit, &found);
    root->bytes += found.bytes;
    root->apparent += found.apparent;
    root->inodes += found.inodes;
    root->unreadable += found.unreadable;
}

/* Begin with a unit: its own directory. */
void walk_unit(struct worker *worker, struct unit *unit)
{
    struct job *job = worker->job;
    struct findings found = {0};
    struct opened *here = NULL;
    struct stat status;
    unit->parts = calloc(WHODIFF_MOST_THREADS, sizeof *unit->parts);
    unit->root = unit->parts ? new_dir(worker, unit, NULL, "") : NULL;
    if (!unit->root) {
        fail(job, ENOMEM);
    } else {
        points_of_unit(job, unit);
        int fd = descend_path(unit->path);
        if (fd >= 0 && fstat(fd, &status) != 0) {
            close(fd);
            fd = -1;
        }
        if (fd < 0) {
            measure_alone(worker, unit);
        } else {
            unit->inode_numbers = unit->count_only && has_inode_numbers(fd);
            here = walk_opened(worker, unit, unit->root, fd, &status, unit->points, &found);
        }
    }
    pthread_mutex_lock(&job->lock);
    if (here) {
        settle(job, here, &found);
        let_go(job, here);
    } else {
        finish_directory(job, unit);
    }
    pthread_mutex_unlock(&job->lock);
}

/* Examine names that another thread has read from a directory. */
void walk_batch(struct worker *worker, struct batch *batch)
{
    struct job *job = worker->job;
    struct opened *here = batch->here;
    struct findings found = {0};
    examine(worker, here, batch->data, batch->used, &found);
    free(batch);
    watch(worker, here);
    pthread_mutex_lock(&job->lock);
    settle(job, here, &found);
    let_go(job, here);
    pthread_mutex_unlock(&job->lock);
}
