/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers to pointers: the bitmaps, and what set, add and clear do to a tree. */
#include "tests/proofs/proof.h"

#include "hv/idmap.c"

static bool used(const struct idmap_node *n, unsigned slot)
{
    return n->full[slot / 64] >> slot % 64 & 1;
}

/* proof: scan_finds_the_first --unwind 5 */
/* broken: hv/idmap.c s/bits &= ~0ull << (from & 63)/bits \&= ~1ull << (from \& 63)/ */
/* broken: hv/idmap.c s/word < 4; word++/word < 3; word++/ */
void scan_finds_the_first(void)
{
    struct idmap_node n;
    unsigned from = any_between(0, 255), other = any_between(0, 255);
    bool wanted = any_bool();
    unsigned found = scan(&n, from, wanted);

    prove(found <= 256);
    if (found < 256)
        prove(found >= from && used(&n, found) == wanted);
    if (other >= from && used(&n, other) == wanted)
        prove(found <= other);
}

/* proof: mark_changes_one_bit */
/* broken: hv/idmap.c s/slot & 63/slot \& 31/ */
void mark_changes_one_bit(void)
{
    struct idmap_node n;
    unsigned slot = any_between(0, 255), other = any_between(0, 255);
    bool before = used(&n, other), on = any_bool();

    mark(&n, slot, on);
    prove(used(&n, other) == (other == slot ? on : before));
    prove(!is_full(&n) || used(&n, other));
}

/* --- A tree from nothing ---------------------------------------------------------------------- */

/* <stdlib.h> has types that CBMC does not know. */
void *calloc(size_t n, size_t size);
void free(void *p);

static int live; /* pages */

enum hv_status pages_alloc(struct page_quota *quota, unsigned order, void **out)
{
    (void)quota;
    prove(order == 0);
    if (any_bool())
        return HV_ENOMEM;
    *out = calloc(1, sizeof(struct idmap_node));
    live++;
    return HV_OK;
}

void pages_free(struct page_quota *quota, unsigned order, void *pages)
{
    (void)quota;
    prove(order == 0);
    free(pages);
    live--;
}

static void come_and_go(uint32_t a, uint32_t b)
{
    struct idmap map = { 0 };
    uint32_t other = any_u32();
    int x, y;

    enum hv_status first = idmap_set(&map, a, &x);
    prove(first == HV_OK || first == HV_ENOMEM);
    prove(live == (first == HV_OK ? 2 : 0));
    enum hv_status second = idmap_set(&map, b, &y);
    prove(idmap_get(&map, b) == (second == HV_OK ? &y : b == a && first == HV_OK ? &x : NULL));
    if (a != b)
        prove(idmap_get(&map, a) == (first == HV_OK ? &x : NULL));
    if (other != a && other != b)
        prove(!idmap_get(&map, other));
    idmap_clear(&map, a);
    prove(!idmap_get(&map, a));
    if (a != b)
        prove(idmap_get(&map, b) == (second == HV_OK ? &y : NULL));
    idmap_clear(&map, b);
    prove(live == 0);
}

/* Two numbers that share a leaf, a middle node, nothing; an allocation fails at any point. */
/* proof: two_in_a_leaf_come_and_go --unwind 5 --no-malloc-may-fail */
/* broken: hv/idmap.c s/free_if_empty(map, top);$/(void)top;/ */
/* broken: hv/idmap.c s/leaf->used += !leaf->slot\[l\]/leaf->used = 1/ */
void two_in_a_leaf_come_and_go(void)
{
    come_and_go(0x512ff, 0x51200);
}

/* proof: two_leaves_come_and_go --unwind 5 --no-malloc-may-fail */
/* broken: hv/idmap.c s/middle->used += new_leaf/middle->used = 1/ */
void two_leaves_come_and_go(void)
{
    come_and_go(0x512ff, 0x51300);
}

/* proof: strangers_come_and_go --unwind 5 --no-malloc-may-fail */
/* broken: hv/idmap.c s/top\[id >> 16\];/top[id >> 20];/ */
void strangers_come_and_go(void)
{
    come_and_go(0x512ff, 0xfffff);
}

/* --- The lowest free number ------------------------------------------------------------------- */

/* The last two leaves of a middle node, with anything in them. */
/* proof: find_free_finds_the_lowest slow --unwind 5 */
/* broken: hv/idmap.c s/from = (from & ~255u) + 256/from += 256/ */
/* broken: hv/idmap.c s/from = (from & ~0xffffu) + m \* 256/from += m * 256/ */
void find_free_finds_the_lowest(void)
{
    static struct idmap_node middle, leaf[2];
    struct idmap map = { 0 };
    uint32_t from = any_u32(), other = any_u32();
    enum { TOP = 2, M = 254 };

    for (unsigned i = 0; i < 4; i++) {
        leaf[0].full[i] = any_u64();
        leaf[1].full[i] = any_u64();
    }
    middle.slot[M] = &leaf[0];
    middle.slot[M + 1] = &leaf[1];
    mark(&middle, M, is_full(&leaf[0]));
    mark(&middle, M + 1, is_full(&leaf[1]));
    map.top[TOP] = &middle;
    assume(from < IDMAP_SIZE && other < IDMAP_SIZE && other >= from);
    uint32_t found = find_free(&map, from), base = TOP << 16 | M << 8;

    prove(found >= from && found <= IDMAP_SIZE);
    if (found - base < 512)
        prove(!used(&leaf[(found - base) >> 8], found & 255));
    if (other - base >= 512 || !used(&leaf[(other - base) >> 8], other & 255))
        prove(found <= other);
}
