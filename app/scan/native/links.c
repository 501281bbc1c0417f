/* Hard links: each inode once in every directory's figure. See links.py for the idea: an inode is
 * spread as signed amounts at single directories, so that every subtree's sum comes out right. */
#define _GNU_SOURCE

#include <stdlib.h>
#include <string.h>

#include "core.h"

/* What is to be added to the sums at one directory. */
struct amount {
    int64_t bytes, apparent, inodes, shared_bytes, shared_inodes;
};

/* Log one link; the many that one directory may have to one inode (whiteouts) share a row. */
bool log_link(struct part *part, struct dir *dir, const struct stat *status)
{
    struct link_row *last = part->row_count ? &part->rows[part->row_count - 1] : NULL;
    if (last && last->inode == status->st_ino && last->device == status->st_dev &&
        last->dir == dir) {
        last->seen++;
        last->nlink = (uint32_t)status->st_nlink;
        return true;
    }
    if (part->row_count == part->row_room) {
        size_t room = part->row_room ? part->row_room * 2 : 16;
        struct link_row *rows = realloc(part->rows, room * sizeof *rows);
        if (!rows)
            return false;
        part->rows = rows;
        part->row_room = room;
    }
    part->rows[part->row_count++] = (struct link_row){
        status->st_dev, status->st_ino, dir, allocated(status), apparent(status),
        (uint32_t)status->st_nlink, 1,
    };
    return true;
}

static int by_inode(const void *left, const void *right)
{
    const struct link_row *a = left, *b = right;
    if (a->device != b->device)
        return a->device < b->device ? -1 : 1;
    if (a->inode != b->inode)
        return a->inode < b->inode ? -1 : 1;
    return (a->dir->number > b->dir->number) - (a->dir->number < b->dir->number);
}

/* All rows of the unit in one array, sorted; the parts keep none. NULL: no memory. */
static struct link_row *all_rows(struct unit *unit, size_t *count)
{
    size_t total = 0;
    for (int i = 0; i < WHODIFF_MOST_THREADS; i++)
        total += unit->parts[i].row_count;
    *count = total;
    struct link_row *rows = malloc((total + 1) * sizeof *rows), *at = rows;
    for (int i = 0; i < WHODIFF_MOST_THREADS && rows; i++) {
        struct part *part = &unit->parts[i];
        if (part->row_count)
            memcpy(at, part->rows, part->row_count * sizeof *rows);
        at += part->row_count;
        free(part->rows);
        part->rows = NULL;
        part->row_count = part->row_room = 0;
    }
    if (rows)
        qsort(rows, total, sizeof *rows, by_inode);
    return rows;
}

/* The lowest directory that both are in or are; `left` is not the greater number. */
static int32_t meeting(const struct whodiff_column *columns, int32_t left, int32_t right)
{
    const int32_t *parents = columns[PARENTS].data, *ends = columns[ENDS].data;
    while (ends[left] <= right)
        left = parents[left];
    return left;
}

static void add(struct amount *to, int64_t sign, int64_t bytes, int64_t apparent_size)
{
    to->bytes += sign * bytes;
    to->apparent += sign * apparent_size;
    to->inodes += sign;
    to->shared_bytes += sign * bytes;
    to->shared_inodes += sign;
}

/* Spread one inode, whose rows these are, over the amounts at each directory. Numbered depth first,
 * the ways up from its directories meet exactly where those of neighbours do. */
static void spread(const struct whodiff_column *columns, const struct link_row *rows, size_t count,
                   struct amount *amounts, uint64_t **outside)
{
    uint64_t seen = 0, nlink = 0;
    int64_t bytes = rows[0].bytes, apparent_size = rows[0].apparent;
    int32_t first = rows[0].dir->number, before = -1;
    for (size_t i = 0; i < count; i++) {
        int32_t node = rows[i].dir->number;
        seen += rows[i].seen;
        nlink = rows[i].nlink > nlink ? rows[i].nlink : nlink;
        if (node == before)
            continue;
        add(&amounts[node], 1, bytes, apparent_size);
        if (before >= 0)
            add(&amounts[meeting(columns, before, node)], -1, bytes, apparent_size);
        before = node;
    }
    if (seen >= nlink) {
        /* From where all links meet upwards nothing is shared with the outside. */
        struct amount *from = &amounts[meeting(columns, first, before)];
        from->shared_bytes -= bytes;
        from->shared_inodes--;
    } else {
        const uint64_t numbers[6] = {rows[0].device, rows[0].inode, (uint64_t)bytes,
                                     (uint64_t)apparent_size, seen, nlink};
        memcpy(*outside, numbers, sizeof numbers);
        *outside += 6;
    }
}

static bool is_nothing(const struct amount *amount)
{
    return !(amount->bytes | amount->apparent | amount->inodes | amount->shared_bytes |
             amount->shared_inodes);
}

/* The directories at which there is something to add, and the running sums over them, beginning
 * with 0. */
static bool make_sums(struct whodiff_column *columns, const struct amount *amounts, size_t count)
{
    size_t height = 1;
    for (size_t node = 0; node < count; node++)
        height += !is_nothing(&amounts[node]);
    if (!make_column(&columns[LINK_NODES], (height - 1) * sizeof(int32_t)) ||
        !make_column(&columns[LINK_SUMS], 5 * height * sizeof(int64_t)))
        return false;
    int32_t *nodes = columns[LINK_NODES].data;
    int64_t *sums = columns[LINK_SUMS].data;
    for (int column = 0; column < 5; column++)
        sums[column * height] = 0;
    for (size_t node = 0; node < count; node++) {
        const struct amount *amount = &amounts[node];
        if (is_nothing(amount))
            continue;
        *nodes++ = (int32_t)node;
        sums[1] = sums[0] + amount->bytes;
        sums[height + 1] = sums[height] + amount->apparent;
        sums[2 * height + 1] = sums[2 * height] + amount->inodes;
        sums[3 * height + 1] = sums[3 * height] + amount->shared_bytes;
        sums[4 * height + 1] = sums[4 * height] + amount->shared_inodes;
        sums++;
    }
    return true;
}

/* Make the columns about links, when those about directories are there. false: no memory. */
bool spread_links(struct unit *unit, struct whodiff_result *result)
{
    struct whodiff_column *columns = result->columns;
    size_t count;
    struct link_row *rows = all_rows(unit, &count);
    if (!rows)
        return false;
    if (count == 0) {
        free(rows);
        return true;
    }
    /* One for each directory: however many links there are, no more memory, and nothing to sort. */
    size_t directories = columns[PARENTS].size / sizeof(int32_t);
    struct amount *amounts = calloc(directories, sizeof *amounts);
    bool made = amounts && make_column(&columns[OUTSIDE], 6 * count * sizeof(uint64_t));
    uint64_t *outside = columns[OUTSIDE].data;
    for (size_t first = 0, next; made && first < count; first = next) {
        for (next = first + 1; next < count && rows[next].inode == rows[first].inode &&
                               rows[next].device == rows[first].device;)
            next++;
        spread(columns, rows + first, next - first, amounts, &outside);
    }
    free(rows);
    if (made) {
        columns[OUTSIDE].size = (uint64_t)((char *)outside - (char *)columns[OUTSIDE].data);
        made = make_sums(columns, amounts, directories);
    }
    free(amounts);
    return made;
}
