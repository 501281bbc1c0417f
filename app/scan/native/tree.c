/* The directories of a unit, gathered in any order by any thread, as the arrays of tree.py:
 * depth first, siblings by name. No recursion: a tree may be as deep as it likes. */
#define _GNU_SOURCE

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

/* Space that lives as long as the part. */
void *part_space(struct part *part, size_t size)
{
    size = (size + 7) & ~(size_t)7;
    struct chunk *chunk = part->chunk;
    if (!chunk || chunk->size - chunk->used < size) {
        size_t room = chunk ? chunk->size * 2 : 1024;
        room = room > 65536 ? 65536 : room;
        room = room < size ? size : room;
        struct chunk *fresh = malloc(sizeof *fresh + room);
        if (!fresh)
            return NULL;
        *fresh = (struct chunk){.before = chunk, .size = room};
        part->chunk = chunk = fresh;
    }
    void *space = chunk->space + chunk->used;
    chunk->used += size;
    return space;
}

static void free_part(struct part *part)
{
    for (struct chunk *chunk = part->chunk; chunk;) {
        struct chunk *before = chunk->before;
        free(chunk);
        chunk = before;
    }
    free(part->rows);
    free(part->inodes.blocks);
}

static int by_name(const void *left, const void *right)
{
    return strcmp((*(struct dir *const *)left)->name, (*(struct dir *const *)right)->name);
}

/* The directories of a list that count, in the order of their names. In the rare case that there
 * is no memory for it the order stays as it is. */
struct dir *sorted_by_name(struct dir *list)
{
    size_t count = 0, at = 0;
    for (struct dir *dir = list; dir; dir = dir->next)
        count++;
    struct dir **array = count > 1 ? malloc(count * sizeof(struct dir *)) : NULL;
    if (!array)
        return list;
    for (struct dir *dir = list; dir; dir = dir->next)
        array[at++] = dir;
    qsort(array, count, sizeof *array, by_name);
    for (at = 0; at + 1 < count; at++)
        array[at]->next = array[at + 1];
    array[count - 1]->next = NULL;
    list = array[0];
    free(array);
    return list;
}

/* The directory after this one, depth first; those that turned out to be none are passed over. */
static struct dir *following(struct dir *at)
{
    struct dir *next = at->children;
    for (;;) {
        while (next && next->state != COUNTED)
            next = next->next;
        if (next || !at)
            return next;
        next = at->next;
        at = at->parent;
    }
}

void read_figures(struct unit *unit, struct whodiff_figures *figures)
{
    *figures = (struct whodiff_figures){
        .entries = atomic_load(&unit->entries),
        .bytes = atomic_load(&unit->bytes),
        .apparent = atomic_load(&unit->apparent),
        .inodes = atomic_load(&unit->inodes),
        .unreadable = atomic_load(&unit->unreadable),
    };
}

bool make_column(struct whodiff_column *column, size_t size)
{
    column->size = size;
    column->data = size ? malloc(size) : NULL;
    return column->data || size == 0;
}

/* Number the directories and make columns for them. false: no memory. */
static bool make_columns(struct unit *unit, struct whodiff_column *columns)
{
    size_t count = 0, names = 0, unreadable = 0, cut = 0;
    for (struct dir *dir = unit->root; dir; dir = following(dir)) {
        dir->number = (int32_t)count++;
        names += strlen(dir->name);
        unreadable += dir->unreadable;
        cut += dir->cut;
    }
    return make_column(&columns[PARENTS], count * sizeof(int32_t)) &&
           make_column(&columns[ENDS], count * sizeof(int32_t)) &&
           make_column(&columns[NAME_ENDS], count * sizeof(int64_t)) &&
           make_column(&columns[BYTES], count * sizeof(int64_t)) &&
           make_column(&columns[APPARENT], count * sizeof(int64_t)) &&
           make_column(&columns[INODES], count * sizeof(int64_t)) &&
           make_column(&columns[NAMES], names) &&
           make_column(&columns[UNREADABLE], unreadable * sizeof(int32_t)) &&
           make_column(&columns[CUT], cut * sizeof(int32_t));
}

static void fill_columns(struct unit *unit, struct whodiff_column *columns)
{
    int32_t *parents = columns[PARENTS].data, *ends = columns[ENDS].data;
    int32_t *unreadable = columns[UNREADABLE].data, *cut = columns[CUT].data;
    int64_t *name_ends = columns[NAME_ENDS].data, *bytes = columns[BYTES].data;
    int64_t *apparent_sizes = columns[APPARENT].data, *inodes = columns[INODES].data;
    char *names = columns[NAMES].data;
    int64_t name_end = 0;
    int32_t count = 0;
    for (struct dir *dir = unit->root; dir; dir = following(dir), count++) {
        size_t length = strlen(dir->name);
        if (length)
            memcpy(names + name_end, dir->name, length);
        name_ends[count] = name_end += (int64_t)length;
        parents[count] = dir->parent ? dir->parent->number : 0;
        ends[count] = count + 1;
        bytes[count] = dir->bytes;
        apparent_sizes[count] = dir->apparent;
        inodes[count] = dir->inodes;
        for (uint32_t i = 0; i < dir->unreadable; i++)
            *unreadable++ = count;
        if (dir->cut)
            *cut++ = count;
    }
    /* A parent's number is smaller than those of all that is in it. */
    for (int32_t i = count - 1; i > 0; i--) {
        int32_t parent = parents[i];
        if (ends[parent] < ends[i])
            ends[parent] = ends[i];
        bytes[parent] += bytes[i];
        apparent_sizes[parent] += apparent_sizes[i];
        inodes[parent] += inodes[i];
    }
}

static bool pack_paths(struct unit *unit, struct whodiff_column *column)
{
    size_t size = 0;
    for (size_t i = 0; i < unit->named_count; i++)
        size += strlen(unit->named[i]) + 1;
    if (!make_column(column, size))
        return false;
    char *at = column->data;
    for (size_t i = 0; i < unit->named_count; i++) {
        size_t length = strlen(unit->named[i]) + 1;
        memcpy(at, unit->named[i], length);
        at += length;
    }
    return true;
}

static bool pack_tree(struct unit *unit, struct whodiff_result *result)
{
    if (!make_columns(unit, result->columns))
        return false;
    fill_columns(unit, result->columns);
    return spread_links(unit, result) && pack_paths(unit, &result->columns[PATHS]);
}

/* The number of inodes: directories, and what is in the threads' sets. -1: no memory. */
static int64_t counted_inodes(struct unit *unit)
{
    int64_t directories = 0;
    for (struct dir *dir = unit->root; dir; dir = following(dir))
        directories += dir->inodes;
    struct inode_set *all = &unit->parts[0].inodes;
    for (int i = 1; i < WHODIFF_MOST_THREADS; i++)
        if (!inode_set_merge(all, &unit->parts[i].inodes))
            return -1;
    return directories + all->count;
}

static bool is_cut(struct unit *unit)
{
    for (struct dir *dir = unit->root; dir; dir = following(dir))
        if (dir->cut)
            return true;
    return false;
}

static void count(struct job *job, struct unit *unit, struct whodiff_result *result)
{
    int64_t inodes = counted_inodes(unit);
    result->figures.inodes = inodes;
    result->complete = inodes >= 0 && !is_cut(unit);
    if (inodes < 0)
        fail(job, ENOMEM);
}

static int64_t latest_change(const struct unit *unit)
{
    int64_t newest = 0;
    for (int i = 0; unit->parts && i < WHODIFF_MOST_THREADS; i++)
        if (unit->parts[i].newest > newest)
            newest = unit->parts[i].newest;
    return newest;
}

/* The result of a unit in which nothing is left to do; what was gathered is freed. Without memory
 * for it the job fails, and the result (NULL in the worst case) has figures alone. */
struct whodiff_result *pack(struct job *job, struct unit *unit)
{
    struct whodiff_result *result = calloc(1, sizeof *result);
    if (result) {
        result->unit = (uint64_t)(unit - job->units);
        read_figures(unit, &result->figures);
        result->newest = latest_change(unit);
    }
    if (result && unit->root && unit->count_only)
        count(job, unit, result);
    else if (!result || !unit->root || !(result->complete = pack_tree(unit, result)))
        fail(job, ENOMEM);
    for (int i = 0; unit->parts && i < WHODIFF_MOST_THREADS; i++)
        free_part(&unit->parts[i]);
    for (size_t i = 0; i < unit->named_count; i++)
        free(unit->named[i]);
    free(unit->parts);
    unit->parts = NULL;
    unit->root = NULL;
    unit->named_count = 0;
    return result;
}

void whodiff_free_result(struct whodiff_result *result)
{
    for (int i = 0; i < WHODIFF_COLUMNS; i++)
        free(result->columns[i].data);
    free(result);
}
