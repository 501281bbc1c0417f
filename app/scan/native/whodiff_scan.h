/* The native scan core, as Python sees it through ctypes. See library.py for the other side.
 *
 * A job walks units (directory trees) in threads of its own. Nothing here ever calls back: the
 * caller looks at the news and takes finished results whenever it likes, without waiting for any
 * lock that a thread of the lowest priority might hold. All functions of one job are to be called
 * from one thread. Strings are copied.
 */
#ifndef WHODIFF_SCAN_H
#define WHODIFF_SCAN_H

#include <stddef.h>
#include <stdint.h>

/* To be raised with every change of what follows; Python refuses another number. */
#define WHODIFF_ABI 2

enum {
    WHODIFF_MOST_THREADS = 16,
    WHODIFF_SHOWN_PATH = 4096,
};

struct whodiff_unit {
    const char *path;
    uint8_t shallow;    /* the directory without those in it */
    uint8_t subvolumes; /* on btrfs: another st_dev need not be another mount */
    uint8_t count_only; /* inodes without sizes: no stat per file where that is exact */
};

struct whodiff_task {
    const struct whodiff_unit *units;
    size_t unit_count;
    const char *const *points; /* mount points, ascending as strcmp has it */
    size_t point_count;
    int32_t threads;      /* at the start, and whenever nobody waits for a disk */
    int32_t most_threads; /* when threads wait for a disk */
    int32_t most_open;    /* directories held open on the way down; 0: as many as are reasonable */
};

/* Linked inodes count at the end only, when it is known that they count once. */
struct whodiff_figures {
    int64_t entries, bytes, apparent, inodes, unreadable;
};

struct whodiff_news {
    int32_t done;    /* every result that there will be can be taken */
    int32_t walking; /* threads that are not yet through, or have not yet seen the cancel */
    int32_t error;   /* errno of a failure that ended the walk, or 0 */
    int32_t running_count;
    struct {
        uint64_t unit;
        struct whodiff_figures figures;
    } running[WHODIFF_MOST_THREADS];
    char current[WHODIFF_SHOWN_PATH]; /* a directory under way */
};

/* The columns of a result; the types are those of app/scan/tree.py's arrays. */
enum whodiff_column_name {
    PARENTS,    /* int32 */
    ENDS,       /* int32 */
    NAME_ENDS,  /* int64 */
    BYTES,      /* int64 */
    APPARENT,   /* int64 */
    INODES,     /* int64 */
    NAMES,      /* bytes */
    UNREADABLE, /* int32 */
    CUT,        /* int32 */
    LINK_NODES, /* int32 */
    LINK_SUMS,  /* int64, five columns one after the other */
    OUTSIDE,    /* uint64, six for each inode */
    PATHS,      /* unreadable paths, each with a 0 behind it */
    WHODIFF_COLUMNS
};

struct whodiff_column {
    void *data;
    uint64_t size; /* in bytes */
};

struct whodiff_result {
    struct whodiff_result *next;
    uint64_t unit;
    int32_t complete; /* 0: the figures are all there is */
    int64_t newest;   /* the latest st_ctime, see tree.py */
    struct whodiff_figures figures;
    struct whodiff_column columns[WHODIFF_COLUMNS];
};

struct job;

#pragma GCC visibility push(default)

int whodiff_abi(void);

/* Start a job; NULL with errno set when not even one thread can be had. */
struct job *whodiff_start(const struct whodiff_task *task);

/* How far the job is. Never blocks. Look first, then take: what is done then has been taken. */
void whodiff_look(struct job *job, struct whodiff_news *news);

/* The results finished since the last call, as a list; to be freed one by one. Never blocks. */
struct whodiff_result *whodiff_take(struct job *job);
void whodiff_free_result(struct whodiff_result *result);

/* Wait until there is a result, or the end: then 1. 0 after so many milliseconds without. */
int whodiff_wait(struct job *job, int milliseconds);

/* Stop the walk; what was found is kept, marked as cut. Does not wait. */
void whodiff_cancel(struct job *job);

/* Cancel, wait so long for the threads, and free the job: now, or when the last thread that hangs
 * in the kernel comes back. */
void whodiff_close(struct job *job, int milliseconds);

#pragma GCC visibility pop

#endif
