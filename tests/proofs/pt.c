/* SPDX-License-Identifier: BSD-2-Clause */
/* Page tables: arithmetic of the walk for all addresses, 3 to 5 levels. */
#include "tests/proofs/proof.h"

#include "hv/platform.h"

/* Tables may lie anywhere: a page of their own for each level, with anything in them. */
static void *any_table(paddr_t at);
#define phys_to_virt any_table

#include "hv/pt.c"

static uint64_t tables[6][ENTRIES], *next_table;

static void *any_table(paddr_t at)
{
    (void)at;
    next_table += ENTRIES;
    return next_table;
}

static const struct pt_format *any_format(void)
{
    return any_bool()   ? any_bool() ? &pt_format_x86 : &pt_format_npt
           : any_bool() ? &pt_format_ept
                        : &pt_format_vtd2;
}

/* [in, end) in pages, inside a table of this many levels. */
static void any_pages(unsigned levels, uint64_t *in, uint64_t *end)
{
    struct pt pt = { .levels = (uint8_t)levels };
    uint64_t size = any_u64();

    *in = any_u64();
    assume(check_range(&pt, *in, size) == HV_OK);
    *end = *in + size;
}

/* proof: a_checked_range_is_inside */
/* broken: hv/pt.c s/ || in + size < in// */
/* broken: hv/pt.c s/in + size > span_of(pt->levels + 1u)/in > span_of(pt->levels + 1u)/ */
void a_checked_range_is_inside(void)
{
    unsigned levels = any_between(3, 5);
    uint64_t in, end;

    any_pages(levels, &in, &end);
    prove(in < end && end <= 1ull << (12 + 9 * levels));
    prove(((in | end) & 0xfff) == 0);
}

/* An address is its indices and its offset, nothing lost, nothing twice. */
/* proof: indices_make_up_the_address --unwind 6 */
/* broken: hv/pt.c s/9 \* (level - 1)/9 * level/ */
/* broken: hv/pt.c s/& (ENTRIES - 1);/\& ENTRIES;/ */
void indices_make_up_the_address(void)
{
    unsigned levels = any_between(3, 5);
    uint64_t in = any_u64(), sum = in & PAGE_MASK;

    assume(in < span_of(levels + 1));
    for (unsigned level = 1; level <= levels; level++) {
        prove(index_of(in, level) < ENTRIES && shift_of(level) <= 48);
        sum += index_of(in, level) * span_of(level);
    }
    prove(sum == in);
}

/* proof: runs_stay_in_table_and_range */
/* broken: hv/pt.c s/(end - 1) >> shift_of(at->level)) - /end >> shift_of(at->level)) - / */
/* broken: hv/pt.c s/ENTRIES - index_of(in, at->level)/ENTRIES/ */
/* broken: hv/pt.c s/return stop < end ? stop : end/return stop/ */
void runs_stay_in_table_and_range(void)
{
    unsigned levels = any_between(3, 5), level = any_between(1, 5);
    uint64_t in, end;

    assume(level <= levels);
    any_pages(levels, &in, &end);
    const struct place at = { .level = level };
    unsigned n = entries_until(&at, in, end), some = any_between(1, ENTRIES);
    uint64_t stop = run_end(in, n, level, end);
    prove(n >= 1 && n <= ENTRIES - index_of(in, level));
    prove(stop > in && stop <= end);
    prove(n == 1 || run_end(in, n - 1, level, end) < end); /* not one entry too many */
    /* All of the range that this table holds. */
    prove(stop == end || index_of(stop, level) == 0);
    if (some <= n) {
        uint64_t part = run_end(in, some, level, end);
        prove(part > in && part <= stop);
    }
}

/* Whatever the tables say, a walk ends within them. */
/* proof: a_walk_stays_in_its_tables slow --nondet-static --unwind 6 --nondet-static */
/* broken: hv/pt.c s/&table\[(in >> shift) & (ENTRIES - 1)\]/\&table[in >> shift]/ */
/* broken: hv/pt.c s/level > 1; level--, shift -= 9/level > 0; level--, shift -= 9/ */
void a_walk_stays_in_its_tables(void)
{
    struct pt pt = { .format = any_format(), .levels = (uint8_t)any_between(3, 5) };
    uint64_t *path[LEVELS_MAX + 1];

    next_table = tables[0];
    pt.root = next_table;
    struct place at = find(&pt, any_u64(), path);
    prove(at.level >= 1 && at.level <= pt.levels);
    prove(path[at.level] == at.entry && at.entry >= tables[pt.levels - at.level] &&
          at.entry < tables[pt.levels - at.level + 1]);
    uint64_t value = *at.entry;
    (void)value;
}

/* What a leaf grants is what was asked for, as far as the format controls it. */
/* proof: leaves_grant_what_was_asked --unwind 6 */
/* broken: hv/pt.c s/bits | (perm & PT_R ? f->read : 0) |/bits | f->read |/ */
/* broken: hv/pt.c s/bits = (bits & ~f->memtype_mask) | f->uncached/bits |= f->uncached/ */
void leaves_grant_what_was_asked(void)
{
    const struct pt_format *f = any_format();
    unsigned asked = any_u32() & (PT_R | PT_W | PT_X | PT_U | PT_UC);
    uint64_t out = any_u64() & f->addr, bits = leaf_bits(f, asked), in = any_u64() & PAGE_MASK;
    struct pt pt = { .format = f, .levels = 4, .root = tables[0] };
    struct pt_leaf leaf;

    prove((bits & f->addr) == 0);
    next_table = tables[0];
    for (unsigned level = pt.levels; level > 1; level--)
        tables[pt.levels - level][index_of(in, level)] = pt.format->table_base;
    tables[pt.levels - 1][index_of(in, 1)] = out | bits;
    prove(pt_lookup(&pt, PTADDR(in), &leaf) == ((bits & f->present) != 0));
    if (!(bits & f->present))
        return;
    prove(leaf.size == PAGE_SIZE && leaf.out.v == (out | (in & PAGE_MASK)));
    unsigned controlled = PT_UC | (f->read ? PT_R : 0) | (f->write ? PT_W : 0) |
                          (f->user ? PT_U : 0) | (f->exec || f->noexec ? PT_X : 0);
    prove(((leaf.perm ^ asked) & controlled) == 0);
    prove((leaf.perm | controlled) == (PT_R | PT_W | PT_X | PT_U | PT_UC));
}

/* --- What the rest of hv/pt.c calls; never reached -------------------------------------------- */

uintptr_t phys_offset;

void panic(const char *format, ...)
{
    (void)format;
    prove(false);
    assume(false);
}
