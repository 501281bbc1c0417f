/* Drives the native scan core under sanitizers and valgrind: `driver DIRECTORY` makes small trees in
 * an empty directory and walks them in every way that Python does, also while another process
 * changes them. Prints what is wrong and exits with 1; the sanitizers say the rest. */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "whodiff_scan.h"

enum { FLAT = 3000, LEVELS = 600, NOBODY = 65534 };

static int failures;

static void check(int right, const char *what, long found, long expected)
{
    if (!right) {
        fprintf(stderr, "%s: found %ld, expected %ld\n", what, found, expected);
        failures++;
    }
}

static void must(int right, const char *what)
{
    if (!right) {
        perror(what);
        exit(2);
    }
}

static void nap(long microseconds)
{
    nanosleep(&(struct timespec){0, microseconds * 1000}, NULL);
}

/* --- trees ---------------------------------------------------------------------------------- */

static void make_file(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY, 0644);
    must(fd >= 0 && write(fd, "x", 1) == 1, name);
    close(fd);
}

static void enter_new(const char *name)
{
    must(mkdir(name, 0755) == 0 && chdir(name) == 0, name);
}

static long make_flat(void)
{
    char name[64];
    for (int i = 0; i < FLAT; i++) {
        snprintf(name, sizeof name, "a-rather-long-name-of-a-checkpoint-%d", i);
        make_file(name);
    }
    return FLAT + 1;
}

static long make_deep(void)
{
    for (int level = 0; level < LEVELS; level++) {
        must(mkdir("a", 0755) == 0 && mkdir("z", 0755) == 0, "aside");
        enter_new("deeper");
    }
    return 3 * LEVELS + 1;
}

static long make_links(void)
{
    char path[64];
    for (int i = 0; i < 40; i++) {
        snprintf(path, sizeof path, "%d", i);
        must(mkdir(path, 0755) == 0, path);
        snprintf(path, sizeof path, "%d/file", i);
        make_file(path);
        for (int to = 0; to <= i; to++) {
            char link_path[64];
            snprintf(link_path, sizeof link_path, "%d/link-%d", to, i);
            must(link(path, link_path) == 0, link_path);
        }
    }
    return 81;
}

static long make_unreadable(void)
{
    char path[64];
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof path, "closed-%d", i);
        must(mkdir(path, i % 2 ? 0700 : 0744) == 0, path);
        if (i % 2)
            continue;
        snprintf(path, sizeof path, "closed-%d/file", i);
        make_file(path);
    }
    return geteuid() == 0 ? 301 : 451; /* of the others' files only the directories count */
}

/* --- walking -------------------------------------------------------------------------------- */

struct sums {
    long results, inodes, incomplete;
};

static long inodes_of(const struct whodiff_result *result)
{
    const struct whodiff_column *inodes = &result->columns[INODES];
    const struct whodiff_column *sums = &result->columns[LINK_SUMS];
    if (inodes->size == 0)
        return result->figures.inodes;
    long own = (long)((const int64_t *)inodes->data)[0];
    long height = (long)(sums->size / sizeof(int64_t) / 5);
    return height ? own + (long)((const int64_t *)sums->data)[3 * height - 1] : own;
}

static void take_all(struct job *job, struct sums *sums)
{
    struct whodiff_result *result = whodiff_take(job);
    while (result) {
        struct whodiff_result *next = result->next;
        sums->results++;
        sums->inodes += inodes_of(result);
        sums->incomplete += !result->complete;
        whodiff_free_result(result);
        result = next;
    }
}

static struct job *start(const char *path, int units, int threads, int most_open, int count_only)
{
    struct whodiff_unit all[8];
    const char *points[] = {"/nowhere", "/proc", "/tmp/a/b"};
    for (int i = 0; i < units; i++)
        all[i] = (struct whodiff_unit){.path = path, .count_only = (uint8_t)count_only};
    struct whodiff_task task = {
        .units = all, .unit_count = (size_t)units, .points = points, .point_count = 3,
        .threads = threads, .most_threads = threads + 4, .most_open = most_open,
    };
    struct job *job = whodiff_start(&task);
    must(job != NULL, "whodiff_start");
    return job;
}

static struct sums finish(struct job *job)
{
    static struct whodiff_news news;
    struct sums sums = {0};
    do {
        whodiff_wait(job, 20);
        whodiff_look(job, &news);
        take_all(job, &sums);
    } while (!news.done);
    check(news.error == 0, "error", news.error, 0);
    whodiff_close(job, 5000);
    return sums;
}

static void walk_quiet(const char *path, long inodes)
{
    for (int count_only = 0; count_only < 2; count_only++)
        for (int threads = 1; threads <= 8; threads *= 2) {
            struct sums sums = finish(start(path, 3, threads, threads % 4, count_only));
            check(sums.results == 3, path, sums.results, 3);
            check(sums.inodes == 3 * inodes, path, sums.inodes, 3 * inodes);
            check(sums.incomplete == 0, path, sums.incomplete, 0);
        }
}

/* Cancel, or close, after so many microseconds. */
static void walk_interrupted(const char *path)
{
    for (long moment = 0; moment < 24; moment++) {
        struct job *job = start(path, 8, 1 + (int)moment % 4, (int)moment % 3, moment % 5 == 0);
        nap(moment * moment * 20);
        if (moment % 3 == 0) {
            whodiff_close(job, moment % 2 ? 5000 : 0);
            continue;
        }
        whodiff_cancel(job);
        struct sums sums = finish(job);
        check(sums.results <= 8, "results after a cancel", sums.results, 8);
    }
}

/* --- a process that changes the tree -------------------------------------------------------- */

static void vandalise(const char *path)
{
    unsigned seed = 1;
    char one[64], other[64];
    must(chdir(path) == 0, path);
    for (;;) {
        snprintf(one, sizeof one, "%d/%d/%d", rand_r(&seed) % 4, rand_r(&seed) % 4,
                 rand_r(&seed) % 4);
        snprintf(other, sizeof other, "%d/%d", rand_r(&seed) % 4, rand_r(&seed) % 4);
        one[rand_r(&seed) % 3 * 2 + 1] = 0;
        int results[] = {
            mkdir(one, 0755), mkdir(other, 0755), rename(one, other), link(one, other),
            rand_r(&seed) % 4 ? 0 : symlink("/", one), rand_r(&seed) % 4 ? 0 : rmdir(other),
            rand_r(&seed) % 4 ? 0 : unlink(one), close(open(one, O_CREAT | O_EXCL, 0644)),
        };
        (void)results; /* most of them fail */
    }
}

static void walk_changing(const char *path)
{
    pid_t vandal = fork();
    must(vandal >= 0, "fork");
    if (vandal == 0)
        vandalise(path);
    for (int i = 0; i < 40; i++) {
        struct sums sums = finish(start(path, 4, 1 + i % 4, i % 2, i % 3 == 0));
        check(sums.results == 4, "results", sums.results, 4);
        check(sums.inodes < 4000, "inodes of a changing tree", sums.inodes, 4000);
    }
    walk_interrupted(path);
    kill(vandal, SIGKILL);
    waitpid(vandal, NULL, 0);
}

/* --- ---------------------------------------------------------------------------------------- */

static void make_and_walk(const char *root, const char *name, long (*make)(void))
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", root, name);
    must(chdir(root) == 0, root);
    enter_new(name);
    long inodes = make();
    must(chdir("/") == 0, "/");
    if (make == make_unreadable && geteuid() == 0)
        must(seteuid(NOBODY) == 0, "seteuid");
    walk_quiet(path, inodes);
    walk_interrupted(path);
    if (geteuid() == NOBODY)
        must(seteuid(0) == 0, "seteuid");
}

int main(int count, char **arguments)
{
    char path[4096];
    must(count == 2 && realpath(arguments[1], path) && chmod(path, 0755) == 0, "directory");
    make_and_walk(path, "flat", make_flat);
    make_and_walk(path, "deep", make_deep);
    make_and_walk(path, "links", make_links);
    make_and_walk(path, "unreadable", make_unreadable);
    strncat(path, "/changing", sizeof path - strlen(path) - 1);
    enter_new(path);
    must(chdir("/") == 0, "/");
    walk_changing(path);
    walk_quiet("/nowhere", 0);
    walk_quiet("/dev/null", 1);
    if (failures)
        fprintf(stderr, "%d failures\n", failures);
    return failures != 0;
}
