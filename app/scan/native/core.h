/* What the parts of the core share. */
#ifndef WHODIFF_CORE_H
#define WHODIFF_CORE_H

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "whodiff_scan.h"

_Static_assert(sizeof(off_t) == 8 && sizeof(ino_t) == 8,
               "every file needs -D_FILE_OFFSET_BITS=64: struct stat is to be the same in all");

enum {
    BUFFER_SIZE = 32768, /* a thousand entries: a millisecond's work to hand over */
    MOST_NAMED = 200,    /* unreadable paths kept for each unit */
    LONGEST_NAMED = 4096,
    LEVELS_SHOWN = 39,   /* of a path */
    MOST_ASCENDED = 1000, /* levels at a time: PATH_MAX has room for so many "../" */
};

/* A directory of the tree, kept until its unit is packed. Ends in its name. */
struct dir {
    struct dir *parent, *next;
    union {
        struct opened *opened; /* in state OPEN */
        struct dir *children;  /* in state COUNTED, by name */
    };
    int64_t bytes, apparent; /* its own and those of its entries that are no directories */
    uint32_t inodes;
    uint32_t unreadable;
    int32_t number;
    uint8_t state;
    bool cut;
    char name[];
};
enum dir_state { FOUND, OPEN, COUNTED, GONE };

/* The mount points below a directory: a range of the job's, and how much of each leads there. */
struct points {
    size_t first, count, skip;
};

/* A directory that is being read, or in which something is still to be opened. The job's lock
 * protects it; while `busy`, the descriptor stays as it is. */
struct opened {
    struct dir *dir;
    struct unit *unit;
    int fd; /* -1: closed for want of descriptors, to be opened again */
    dev_t device;
    ino_t inode;
    struct points points;
    bool by_number; /* entries can be counted by the inode number that the directory has */
    bool stacked;
    bool reopening; /* a thread is about to open it again: wait for that */
    unsigned busy;                /* threads in it, and batches of it handed over */
    struct dir *pending;          /* directories in it that nobody has opened yet */
    struct dir *children;         /* those that somebody has */
    struct opened *below;         /* on the stack */
    struct opened *older, *newer; /* in the list of those that may be closed */
};

/* One link of an inode that has several (or more of them, if one directory has them in a row). */
struct link_row {
    uint64_t device, inode;
    struct dir *dir;
    int64_t bytes, apparent;
    uint32_t nlink, seen;
};

struct chunk {
    struct chunk *before;
    size_t size, used;
    _Alignas(8) char space[];
};

/* A set of inodes: blocks of 512 neighbouring numbers in a hash table. */
struct inode_block {
    uint64_t device, block;
    uint64_t bits[8];
};
struct inode_set {
    struct inode_block *blocks;
    size_t room, filled;
    int64_t count;
};

/* What one thread has gathered of one unit. Nobody else touches it until the unit is complete. */
struct part {
    struct chunk *chunk;
    struct link_row *rows;
    size_t row_count, row_room;
    struct inode_set inodes;
    int64_t newest; /* the latest change, in seconds */
};

struct unit {
    char *path;
    bool shallow, subvolumes, count_only;
    bool inode_numbers; /* d_ino is st_ino on this file system */
    struct dir *root;
    struct points points;
    struct part *parts; /* one for each thread; while the unit is under way */
    size_t outstanding; /* directories found and not yet done with */
    char *named[MOST_NAMED];
    size_t named_count;
    atomic_int_fast64_t entries, bytes, apparent, inodes, unreadable;
};

/* Names read from a directory, to be examined. */
struct batch {
    struct batch *next;
    struct opened *here;
    size_t used;
    _Alignas(8) char data[BUFFER_SIZE];
};

struct job {
    struct unit *units;
    size_t unit_count, next_unit, running;
    char **points;
    size_t point_count;
    int cores, most_threads, most_held;

    pthread_mutex_t lock; /* never held in a call that can wait for a disk */
    pthread_cond_t work, gone;
    struct opened *stack; /* directories with something pending, the latest first */
    struct opened *oldest, *newest;
    int held;
    struct batch *batches;
    int queued, threads;
    bool taken[WHODIFF_MOST_THREADS], released;

    atomic_bool stop, done, waiting_for_disk;
    atomic_int idle, walking, error;
    atomic_size_t under_way[WHODIFF_MOST_THREADS]; /* a unit's number + 1, or 0 */
    _Atomic(struct whodiff_result *) finished;
    pthread_mutex_t news_lock, current_lock;
    pthread_cond_t news;
    char current[WHODIFF_SHOWN_PATH];
};

struct worker {
    struct job *job;
    int id;
    bool surplus; /* nobody waits for a disk any more: this thread may go */
    struct batch *batch;
    int64_t window, window_cpu; /* when the last look at the clock was, in nanoseconds */
    long window_waits, window_pushes;
};

/* What a look into a directory found; for the directory itself. */
struct findings {
    int64_t entries, bytes, apparent;
    uint32_t inodes, unreadable, found;
    uint32_t fresh; /* inodes counted by number, which go into no directory's figures */
    struct dir *first, *last; /* the directories */
    bool cut;
};

/* descent.c: opening directories, never through a symbolic link, never across a mount */
int descend(int parent, const char *name);
int descend_path(const char *path);
int ascend(int fd, size_t levels, dev_t device, ino_t inode);
int descend_again(const struct unit *unit, const struct opened *here);
bool is_foreign(const struct stat *directory, dev_t parent, bool subvolumes);
bool points_in(const struct job *job, const struct points *here, const char *name,
               struct points *below);
void points_of_unit(const struct job *job, struct unit *unit);

/* walk.c: what is in a directory */
void walk_unit(struct worker *worker, struct unit *unit);
void walk_child(struct worker *worker, struct opened *above, struct dir *dir, int fd);
void walk_batch(struct worker *worker, struct batch *batch);
size_t path_of(const struct unit *unit, const struct dir *dir, const char *name, char *path);

/* calls.c: the end of a job that no thread is in any more */
void destroy(struct job *job);

/* job.c: who walks what; the lock is held where it is said */
struct timespec in_milliseconds(int milliseconds); /* from now, as the conditions' clock goes */
bool grow(struct job *job);                        /* lock */
void fail(struct job *job, int error);
void watch(struct worker *worker, const struct opened *here);
bool hand_over(struct worker *worker, struct opened *here);
void settle(struct job *job, struct opened *here, const struct findings *found); /* lock */
void take_descriptor(struct job *job, struct opened *here, int fresh);           /* lock */
void reopen_next(struct job *job, const struct opened *here);                    /* lock */
void let_go(struct job *job, struct opened *here);                               /* lock */
void finish_directory(struct job *job, struct unit *unit);                       /* lock */

/* tree.c, links.c, inodes.c: what was gathered, packed */
void *part_space(struct part *part, size_t size);
struct dir *sorted_by_name(struct dir *list);
void read_figures(struct unit *unit, struct whodiff_figures *figures);
struct whodiff_result *pack(struct job *job, struct unit *unit);
bool make_column(struct whodiff_column *column, size_t size);
bool log_link(struct part *part, struct dir *dir, const struct stat *status);
bool spread_links(struct unit *unit, struct whodiff_result *result);
int inode_set_add(struct inode_set *set, uint64_t device, uint64_t inode); /* 1: new, -1: errno */
bool inode_set_merge(struct inode_set *into, const struct inode_set *other);

static inline int64_t allocated(const struct stat *status)
{
    return (int64_t)status->st_blocks * 512;
}

/* st_size of regular files and symbolic links; of anything else it means nothing. */
static inline int64_t apparent(const struct stat *status)
{
    return S_ISREG(status->st_mode) || S_ISLNK(status->st_mode) ? status->st_size : 0;
}

#endif
