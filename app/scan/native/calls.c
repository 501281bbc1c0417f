/* What Python calls: a job from its beginning to its end. */
#define _GNU_SOURCE

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core.h"

enum { MOST_HELD = 128 }; /* directories open on the way down; others are opened again later */

static void make_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

void destroy(struct job *job)
{
    for (struct whodiff_result *result = atomic_load(&job->finished); result;) {
        struct whodiff_result *next = result->next;
        whodiff_free_result(result);
        result = next;
    }
    for (size_t i = 0; job->units && i < job->unit_count; i++)
        free(job->units[i].path);
    for (size_t i = 0; job->points && i < job->point_count; i++)
        free(job->points[i]);
    free(job->units);
    free(job->points);
    free(job);
}

int whodiff_abi(void)
{
    return WHODIFF_ABI;
}

static int reasonably_held(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur / 8 > MOST_HELD)
        return MOST_HELD;
    return limit.rlim_cur < 32 ? 4 : (int)(limit.rlim_cur / 8);
}

static int within(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

static struct job *new_job(const struct whodiff_task *task)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->units = calloc(task->unit_count + 1, sizeof *job->units);
    job->points = calloc(task->point_count + 1, sizeof *job->points);
    bool copied = job->units && job->points;
    job->unit_count = task->unit_count;
    job->point_count = task->point_count;
    for (size_t i = 0; copied && i < task->unit_count; i++) {
        const struct whodiff_unit *from = &task->units[i];
        struct unit *unit = &job->units[i];
        unit->path = strdup(from->path);
        unit->shallow = from->shallow;
        unit->subvolumes = from->subvolumes;
        unit->count_only = from->count_only;
        copied = unit->path != NULL;
    }
    for (size_t i = 0; copied && i < task->point_count; i++)
        copied = (job->points[i] = strdup(task->points[i])) != NULL;
    if (!copied) {
        destroy(job);
        return NULL;
    }
    job->cores = within(task->threads, 1, WHODIFF_MOST_THREADS);
    job->most_threads = within(task->most_threads, job->cores, WHODIFF_MOST_THREADS);
    job->most_held = task->most_open > 0 ? task->most_open : reasonably_held();
    pthread_mutex_init(&job->lock, NULL);
    pthread_mutex_init(&job->news_lock, NULL);
    pthread_mutex_init(&job->current_lock, NULL);
    make_condition(&job->work);
    make_condition(&job->gone);
    make_condition(&job->news);
    return job;
}

struct job *whodiff_start(const struct whodiff_task *task)
{
    struct job *job = new_job(task);
    if (!job) {
        errno = ENOMEM;
        return NULL;
    }
    if (job->unit_count == 0) {
        atomic_store(&job->done, true);
        return job;
    }
    /* Signals are for the caller's threads. */
    sigset_t every, before;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    pthread_mutex_lock(&job->lock);
    while (job->threads < job->cores && grow(job))
        ;
    bool started = job->threads > 0;
    pthread_mutex_unlock(&job->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!started) {
        destroy(job);
        errno = EAGAIN;
        return NULL;
    }
    return job;
}

void whodiff_look(struct job *job, struct whodiff_news *news)
{
    news->done = atomic_load(&job->done);
    news->walking = atomic_load(&job->walking);
    news->error = atomic_load(&job->error);
    news->running_count = 0;
    for (int i = 0; i < WHODIFF_MOST_THREADS; i++) {
        size_t number = atomic_load(&job->under_way[i]);
        if (number == 0)
            continue;
        int place = news->running_count++;
        news->running[place].unit = number - 1;
        read_figures(&job->units[number - 1], &news->running[place].figures);
    }
    news->current[0] = 0;
    if (pthread_mutex_trylock(&job->current_lock) == 0) {
        memcpy(news->current, job->current, strlen(job->current) + 1);
        pthread_mutex_unlock(&job->current_lock);
    }
}

struct whodiff_result *whodiff_take(struct job *job)
{
    return atomic_exchange(&job->finished, NULL);
}

int whodiff_wait(struct job *job, int milliseconds)
{
    struct timespec limit = in_milliseconds(milliseconds);
    int late = 0;
    pthread_mutex_lock(&job->news_lock);
    while (!late && !atomic_load(&job->finished) && !atomic_load(&job->done))
        late = pthread_cond_timedwait(&job->news, &job->news_lock, &limit);
    pthread_mutex_unlock(&job->news_lock);
    return !late;
}

void whodiff_cancel(struct job *job)
{
    /* Without the lock; whoever misses it wakes from its nap. */
    atomic_store(&job->stop, true);
    pthread_cond_broadcast(&job->work);
}

void whodiff_close(struct job *job, int milliseconds)
{
    struct timespec limit = in_milliseconds(milliseconds);
    whodiff_cancel(job);
    pthread_mutex_lock(&job->lock);
    while (job->threads > 0 && pthread_cond_timedwait(&job->gone, &job->lock, &limit) == 0)
        ;
    bool all_gone = job->threads == 0;
    job->released = !all_gone;
    pthread_mutex_unlock(&job->lock);
    if (all_gone)
        destroy(job);
}
