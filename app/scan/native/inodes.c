/* A set of inodes, for counting without asking for link counts. Neighbouring numbers, which file
 * systems tend to give, share a block: 20 to 120 bytes for a hundred inodes. */
#define _GNU_SOURCE

#include <stdlib.h>

#include "core.h"

/* An empty place of the table: a block is made for the sake of one bit. */
static bool is_empty(const struct inode_block *block)
{
    uint64_t any = 0;
    for (int i = 0; i < 8; i++)
        any |= block->bits[i];
    return any == 0;
}

static bool make_room(struct inode_set *set)
{
    if (set->filled * 4 < set->room * 3)
        return true;
    struct inode_set larger = {.room = set->room ? set->room * 2 : 64};
    larger.blocks = calloc(larger.room, sizeof *larger.blocks);
    if (!larger.blocks)
        return false;
    bool merged = inode_set_merge(&larger, set);
    free(set->blocks);
    *set = larger;
    return merged;
}

/* Set bits of one word of a block; how many of them are new, -1 when there is no memory. */
static int set_bits(struct inode_set *set, uint64_t device, uint64_t block, int word, uint64_t bits)
{
    if (!make_room(set))
        return -1;
    uint64_t hash = (block ^ device << 40) * 0x9E3779B97F4A7C15u;
    size_t at = (size_t)(hash >> 20) & (set->room - 1);
    struct inode_block *place = &set->blocks[at];
    while ((place->block != block || place->device != device) && !is_empty(place)) {
        at = (at + 1) & (set->room - 1);
        place = &set->blocks[at];
    }
    if (is_empty(place)) {
        place->device = device;
        place->block = block;
        set->filled++;
    }
    int fresh = __builtin_popcountll(bits & ~place->bits[word]);
    place->bits[word] |= bits;
    set->count += fresh;
    return fresh;
}

int inode_set_add(struct inode_set *set, uint64_t device, uint64_t inode)
{
    return set_bits(set, device, inode / 512, (int)(inode / 64 % 8), (uint64_t)1 << inode % 64);
}

/* Add all of another set. false: no memory. */
bool inode_set_merge(struct inode_set *into, const struct inode_set *other)
{
    for (size_t at = 0; at < other->room; at++) {
        const struct inode_block *from = &other->blocks[at];
        for (int word = 0; word < 8; word++)
            if (from->bits[word] &&
                set_bits(into, from->device, from->block, word, from->bits[word]) < 0)
                return false;
    }
    return true;
}
