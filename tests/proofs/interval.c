/* SPDX-License-Identifier: BSD-2-Clause */
/* Ordered sets of intervals: what is found in a tree of up to three, anywhere. */
#include "tests/proofs/proof.h"

#include "hv/interval.c"

#define NODES 3u

static struct interval node[NODES]; /* ascending */
static bool in[NODES];
static struct interval_set tree;

static bool overlaps(uint64_t first, uint64_t last)
{
    bool any = false;

    for (unsigned i = 0; i < NODES; i++)
        any = any || (in[i] && node[i].first <= last && first <= node[i].last);
    return any;
}

/* Any of the trees that three, two, one or no intervals can be; each node knows what it must. */
static void any_tree(void)
{
    uint64_t begin = 0;

    for (unsigned i = 0; i < NODES; i++) {
        in[i] = any_bool();
        node[i].first = any_u64();
        node[i].last = any_u64();
        node[i].left = node[i].right = NULL;
        if (!in[i])
            continue;
        assume(node[i].first <= node[i].last && node[i].first >= begin);
        assume(i == NODES - 1 || node[i].last != UINT64_MAX);
        node[i].before = node[i].gap = node[i].first - begin;
        begin = node[i].last + 1;
    }
    struct interval *low = in[0] ? &node[0] : NULL, *high = in[2] ? &node[2] : NULL;
    struct interval *top = in[1] ? &node[1] : low && (!high || any_bool()) ? low : high;
    tree.root = top;
    if (!top)
        return;
    top->left = top != low ? low : NULL;
    top->right = top != high ? high : NULL;
    if (top->left && top->left->gap > top->gap)
        top->gap = top->left->gap;
    if (top->right && top->right->gap > top->gap)
        top->gap = top->right->gap;
}

/* proof: the_next_one_is_found --unwind 4 */
/* broken: hv/interval.c s/if (n->last >= address)/if (n->first >= address)/ */
/* broken: hv/interval.c s/node->last == UINT64_MAX ? NULL : // */
void the_next_one_is_found(void)
{
    uint64_t address = any_u64();
    const struct interval *expected = NULL, *behind = NULL;

    any_tree();
    for (unsigned i = NODES; i--;) {
        if (!in[i] || node[i].last < address)
            continue;
        behind = expected;
        expected = &node[i];
    }
    const struct interval *found = interval_from(&tree, address);
    prove(found == expected);
    if (found)
        prove(interval_next(&tree, found) == behind);
}

/* Where one more would go: there is room if and only if nothing overlaps, between its neighbours.
 */
/* proof: a_slot_is_between_its_neighbours --unwind 4 */
/* broken: hv/interval.c s/below->last >= first/below->last > first/ */
/* broken: hv/interval.c s/slot->above = above;/slot->above = below;/ */
void a_slot_is_between_its_neighbours(void)
{
    uint64_t first = any_u64(), last = any_u64();
    struct interval_slot slot;

    assume(first <= last);
    any_tree();
    bool room = interval_slot(&tree, first, last, &slot);
    prove(room == !overlaps(first, last));
    if (!room)
        return;
    prove(!*slot.link && slot.depth <= 2);
    for (unsigned i = 0; i < NODES; i++) {
        if (in[i] && node[i].last < first)
            prove(slot.below && slot.below->last >= node[i].last);
        if (in[i] && node[i].first > last)
            prove(slot.above && slot.above->first <= node[i].first);
    }
}

/* --- What hv/interval.c calls ----------------------------------------------------------------- */

void panic(const char *format, ...)
{
    (void)format;
    prove(false);
    assume(false);
}
