/* Who walks what: the threads of a job, what they have to do, and what others may see of it.
 *
 * Work is taken in this order: names that another thread has read from a huge directory, the
 * directory found last (so that few are open at a time), the next unit. A unit is packed by the
 * thread that did the last of it. */
#define _GNU_SOURCE

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core.h"

enum {
    NICEST = 19,
    STACK = 256 * 1024,
    NAP = 20, /* milliseconds until an idle thread looks whether it shall stop */
};
static const int64_t WINDOW = 5000000; /* nanoseconds between two looks at how busy a thread is */

static int64_t nanoseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct timespec in_milliseconds(int milliseconds)
{
    int64_t then = nanoseconds(CLOCK_MONOTONIC) + (int64_t)milliseconds * 1000000;
    return (struct timespec){.tv_sec = then / 1000000000, .tv_nsec = (long)(then % 1000000000)};
}

/* --- directories that are open -------------------------------------------------------------- */

static void unlist(struct job *job, struct opened *here)
{
    *(here->older ? &here->older->newer : &job->oldest) = here->newer;
    *(here->newer ? &here->newer->older : &job->newest) = here->older;
    here->older = here->newer = NULL;
    job->held--;
}

static void list(struct job *job, struct opened *here)
{
    here->older = job->newest;
    *(job->newest ? &job->newest->newer : &job->oldest) = here;
    job->newest = here;
    job->held++;
}

/* Nobody is in a directory now that has something pending: keep it open, or another. Lock held. */
static void hold(struct job *job, struct opened *here)
{
    if (here->fd < 0)
        return;
    list(job, here);
    while (job->held > job->most_held) {
        struct opened *oldest = job->oldest;
        int fd = oldest->fd;
        unlist(job, oldest);
        oldest->fd = -1;
        pthread_mutex_unlock(&job->lock);
        close(fd);
        pthread_mutex_lock(&job->lock);
    }
}

/* How many levels `above` is above `dir`; 0 if it is not, or too far. */
static size_t levels_between(const struct dir *dir, const struct dir *above)
{
    size_t levels = 0;
    for (; dir && dir != above && levels <= MOST_ASCENDED; dir = dir->parent)
        levels++;
    return dir == above && levels <= MOST_ASCENDED ? levels : 0;
}

/* One use of a directory less; after the last one it is closed. Lock held, but not throughout. */
void let_go(struct job *job, struct opened *here)
{
    if (--here->busy > 0)
        return;
    if (here->pending) {
        hold(job, here);
        return;
    }
    struct dir *children = here->children;
    if (here->fd >= 0 || children) {
        pthread_mutex_unlock(&job->lock);
        if (here->fd >= 0)
            close(here->fd);
        children = sorted_by_name(children);
        pthread_mutex_lock(&job->lock);
    }
    here->dir->children = children;
    here->dir->state = COUNTED;
    struct unit *unit = here->unit;
    free(here);
    finish_directory(job, unit);
}

/* Give a directory that the caller is in, and that was closed, the descriptor that it was opened
 * again with (or -1); another thread may have been faster. Lock held, but not throughout. */
void take_descriptor(struct job *job, struct opened *here, int fresh)
{
    if (here->fd < 0) {
        here->fd = fresh;
    } else if (fresh >= 0) {
        pthread_mutex_unlock(&job->lock);
        close(fresh);
        pthread_mutex_lock(&job->lock);
    }
}

/* Nothing is pending in `here` any more, which the caller is in. If the directory whose turn is next
 * was closed meanwhile, and is above this one, now is the time to open it again, by the shortest way:
 * the kernel has all of it in memory. Lock held, but not throughout. */
void reopen_next(struct job *job, const struct opened *here)
{
    struct opened *next = job->stack;
    if (!next || next->fd >= 0 || next->reopening || here->fd < 0)
        return;
    size_t levels = levels_between(here->dir, next->dir);
    if (levels == 0)
        return;
    next->reopening = true;
    next->busy++;
    pthread_mutex_unlock(&job->lock);
    int fresh = ascend(here->fd, levels, next->device, next->inode);
    pthread_mutex_lock(&job->lock);
    next->reopening = false;
    take_descriptor(job, next, fresh);
    if (atomic_load(&job->idle) > 0)
        pthread_cond_broadcast(&job->work);
    let_go(job, next);
}

/* Enter what was found in a directory, and offer the directories among it. Lock held. */
void settle(struct job *job, struct opened *here, const struct findings *found)
{
    struct dir *dir = here->dir;
    dir->bytes += found->bytes;
    dir->apparent += found->apparent;
    dir->inodes += found->inodes;
    dir->unreadable += found->unreadable;
    dir->cut |= found->cut;
    if (!found->first)
        return;
    found->last->next = here->pending;
    here->pending = found->first;
    here->unit->outstanding += found->found;
    if (!here->stacked) {
        here->stacked = true;
        here->below = job->stack;
        job->stack = here;
    }
    int idle = atomic_load(&job->idle);
    for (uint32_t i = 1; i < found->found && idle > 0; i++, idle--)
        pthread_cond_signal(&job->work);
}

/* --- news ----------------------------------------------------------------------------------- */

static void tell(struct job *job)
{
    pthread_mutex_lock(&job->news_lock);
    pthread_cond_broadcast(&job->news);
    pthread_mutex_unlock(&job->news_lock);
}

static void end(struct job *job)
{
    atomic_store(&job->done, true);
    pthread_cond_broadcast(&job->work);
    tell(job);
}

/* The walk cannot go on; what was found is kept. */
void fail(struct job *job, int error)
{
    int none = 0;
    atomic_compare_exchange_strong(&job->error, &none, error);
    atomic_store(&job->stop, true);
}

/* One directory of a unit less to be done with; after the last one the unit is packed. Lock held,
 * but not throughout. */
void finish_directory(struct job *job, struct unit *unit)
{
    if (--unit->outstanding > 0)
        return;
    pthread_mutex_unlock(&job->lock);
    struct whodiff_result *result = pack(job, unit);
    if (result) {
        result->next = atomic_load(&job->finished);
        while (!atomic_compare_exchange_weak(&job->finished, &result->next, result))
            ;
        tell(job);
    }
    pthread_mutex_lock(&job->lock);
    for (int i = 0; i < WHODIFF_MOST_THREADS; i++)
        if (atomic_load(&job->under_way[i]) == (size_t)(unit - job->units) + 1)
            atomic_store(&job->under_way[i], 0);
    if (--job->running == 0 && job->next_unit == job->unit_count)
        end(job);
    else if (job->running == 0)
        pthread_cond_broadcast(&job->work);
}

static void show_current(struct worker *worker, const struct opened *here)
{
    struct job *job = worker->job;
    char path[LONGEST_NAMED + 1];
    size_t length = path_of(here->unit, here->dir, "", path);
    if (length >= WHODIFF_SHOWN_PATH || pthread_mutex_trylock(&job->current_lock) != 0)
        return;
    memcpy(job->current, path, length + 1);
    pthread_mutex_unlock(&job->current_lock);
}

/* --- threads -------------------------------------------------------------------------------- */

struct task {
    struct batch *batch;
    struct opened *above;
    struct dir *dir;
    int fd;
    struct unit *unit;
};

/* Whether the next unit may be begun: nothing is measured while there is something to count, in
 * which all threads share. */
static bool has_unit(const struct job *job)
{
    size_t next = job->next_unit;
    if (next == job->unit_count)
        return false;
    return job->units[next].count_only || next == 0 || !job->units[next - 1].count_only ||
           job->running == 0;
}

/* Whether there is a directory to be opened, and where: not while that is being opened again, as
 * everybody else's way there is longer. */
static bool has_child(const struct job *job)
{
    return job->stack && !job->stack->reopening;
}

static bool has_work(const struct job *job)
{
    return job->batches || has_child(job) || has_unit(job);
}

/* Lock held, but not throughout. */
static void take_child(struct job *job, struct task *task)
{
    struct opened *here = job->stack;
    struct dir *dir = here->pending;
    here->pending = dir->next;
    dir->next = here->children;
    here->children = dir;
    if (here->busy++ == 0 && here->fd >= 0)
        unlist(job, here);
    if (!here->pending) {
        job->stack = here->below;
        here->stacked = false;
        reopen_next(job, here);
    }
    *task = (struct task){.above = here, .dir = dir, .fd = here->fd};
}

static void take_unit(struct job *job, struct task *task)
{
    struct unit *unit = &job->units[job->next_unit++];
    unit->outstanding = 1;
    job->running++;
    for (int i = 0; i < WHODIFF_MOST_THREADS; i++)
        if (atomic_load(&job->under_way[i]) == 0) {
            atomic_store(&job->under_way[i], job->next_unit);
            break;
        }
    *task = (struct task){.unit = unit};
}

/* Wait for something to do. false: there will be nothing, or it is not for this thread. Lock
 * held. */
static bool take(struct worker *worker, struct task *task)
{
    struct job *job = worker->job;
    while (!atomic_load(&job->stop) && !(worker->surplus && job->threads > job->cores)) {
        if (job->batches) {
            *task = (struct task){.batch = job->batches};
            job->batches = job->batches->next;
            job->queued--;
            return true;
        }
        if (has_child(job)) {
            take_child(job, task);
            return true;
        }
        if (has_unit(job)) {
            take_unit(job, task);
            return true;
        }
        if (job->running == 0)
            return false;
        struct timespec limit = in_milliseconds(NAP);
        atomic_fetch_add(&job->idle, 1);
        pthread_cond_timedwait(&job->work, &job->lock, &limit);
        atomic_fetch_sub(&job->idle, 1);
        worker->window = 0;
    }
    return false;
}

/* Offer the names just read to an idle thread, if there is one without; true if they went. */
bool hand_over(struct worker *worker, struct opened *here)
{
    struct job *job = worker->job;
    /* Where threads wait for a disk, what is queued is the reason to start more of them. */
    int wanted = atomic_load(&job->idle) + (atomic_load(&job->waiting_for_disk) ? job->cores : 0);
    struct batch *fresh = wanted > 0 ? malloc(sizeof *fresh) : NULL;
    if (!fresh)
        return false;
    pthread_mutex_lock(&job->lock);
    bool went = job->queued < wanted;
    if (went) {
        worker->batch->here = here;
        worker->batch->next = job->batches;
        job->batches = worker->batch;
        job->queued++;
        here->busy++;
        pthread_cond_signal(&job->work);
        worker->batch = fresh;
    }
    pthread_mutex_unlock(&job->lock);
    if (!went)
        free(fresh);
    return went;
}

static void perform(struct worker *worker, struct task *task)
{
    if (task->batch)
        walk_batch(worker, task->batch);
    else if (task->unit)
        walk_unit(worker, task->unit);
    else
        walk_child(worker, task->above, task->dir, task->fd);
}

/* The walk was stopped: nobody walks any more, and what is left to do is left. Lock held, but not
 * throughout. */
static void wind_up(struct job *job)
{
    while (job->batches) {
        struct batch *batch = job->batches;
        job->batches = batch->next;
        batch->here->dir->cut = true;
        let_go(job, batch->here);
        free(batch);
    }
    while (job->stack) {
        struct opened *here = job->stack;
        job->stack = here->below;
        here->dir->cut = true;
        for (struct dir *dir = here->pending; dir; dir = dir->next)
            here->unit->outstanding--;
        here->pending = NULL;
        if (here->fd >= 0)
            unlist(job, here);
        here->busy = 1;
        let_go(job, here);
    }
}

/* Lock held; released. */
static void leave(struct job *job, int id)
{
    if (atomic_fetch_sub(&job->walking, 1) == 1 && !atomic_load(&job->done)) {
        wind_up(job);
        end(job);
    }
    job->taken[id] = false;
    job->threads--;
    bool last = job->threads == 0 && job->released;
    pthread_cond_broadcast(&job->gone);
    pthread_mutex_unlock(&job->lock);
    if (last)
        destroy(job);
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    struct job *job = worker->job;
    struct task task;
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICEST);
    pthread_mutex_lock(&job->lock);
    while (take(worker, &task)) {
        pthread_mutex_unlock(&job->lock);
        perform(worker, &task);
        pthread_mutex_lock(&job->lock);
    }
    int id = worker->id;
    free(worker->batch);
    free(worker);
    leave(job, id);
    return NULL;
}

/* Start one more thread. false: it cannot be had. Lock held. */
bool grow(struct job *job)
{
    int id = 0;
    while (job->taken[id])
        id++;
    pthread_t thread;
    pthread_attr_t attributes;
    struct worker *worker = calloc(1, sizeof *worker);
    struct batch *batch = malloc(sizeof *batch);
    bool started = false;
    if (worker && batch && pthread_attr_init(&attributes) == 0) {
        *worker = (struct worker){.job = job, .id = id, .batch = batch};
        pthread_attr_setstacksize(&attributes, STACK);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        started = pthread_create(&thread, &attributes, run, worker) == 0;
        pthread_attr_destroy(&attributes);
    }
    if (!started) {
        free(worker);
        free(batch);
        return false;
    }
    job->taken[id] = true;
    job->threads++;
    atomic_fetch_add(&job->walking, 1);
    return true;
}

/* Now and then: show where the walk is, and see whether this thread waits for a disk. Then more
 * threads have more requests under way; else more threads than cores are only in the way. */
void watch(struct worker *worker, const struct opened *here)
{
    int64_t now = nanoseconds(CLOCK_MONOTONIC), wall = now - worker->window;
    if (wall < WINDOW)
        return;
    struct job *job = worker->job;
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    int64_t cpu = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    long waits = usage.ru_nvcsw - worker->window_waits;
    long pushes = usage.ru_nivcsw - worker->window_pushes;
    bool first = worker->window == 0;
    /* Without the processor by its own will, rather than because others wanted it. */
    bool waited = (cpu - worker->window_cpu) * 2 < wall && waits > pushes;
    worker->window = now;
    worker->window_cpu = cpu;
    worker->window_waits = usage.ru_nvcsw;
    worker->window_pushes = usage.ru_nivcsw;
    show_current(worker, here);
    if (first)
        return;
    atomic_store(&job->waiting_for_disk, waited);
    worker->surplus = !waited;
    if (waited) {
        pthread_mutex_lock(&job->lock);
        if (job->threads < job->most_threads && atomic_load(&job->idle) == 0 && has_work(job))
            grow(job);
        pthread_mutex_unlock(&job->lock);
    }
}
