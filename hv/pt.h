/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One page-table walker for all radix tables that Sluice builds or reads: its own, nested paging,
 * EPT and VT-d second stage, first stage. A format is a row of masks.
 */
#ifndef HV_PT_H
#define HV_PT_H

#include "hv/pages.h"
#include "hv/types.h"

enum pt_perm { PT_R = 1, PT_W = 2, PT_X = 4, PT_U = 8 /* user, x86 formats */ };

struct pt_format {
    const char *name;
    uint64_t present;      /* live if any of these is set */
    uint64_t read, write;  /* set to grant; 0 = always granted */
    uint64_t exec, noexec; /* set to grant / set to deny; both 0 = not controlled */
    uint64_t user;         /* set to grant to user; 0 = not controlled */
    uint64_t leaf_base;    /* on every leaf (accessed, dirty, memory type default) */
    uint64_t table_base;   /* on every table link */
    uint64_t large;        /* page-size bit of large leaves */
    uint64_t addr;         /* output address bits */
    uint64_t uncached;     /* memory-type bits for PT_UC mappings */
    uint64_t memtype_mask; /* bits that `uncached` replaces in leaf_base */
    uint8_t levels_min, levels_max;
};

extern const struct pt_format pt_format_x86; /* host paging, AMD nested paging, VT-d first stage */
extern const struct pt_format pt_format_npt; /* as x86, user bit on everything (APM 2 15.25.5) */
extern const struct pt_format pt_format_ept; /* Intel's for the CPU (SDM 3C 29.3) */
extern const struct pt_format pt_format_vtd2_snoop; /* with SNP in each leaf */
extern const struct pt_format pt_format_vtd2; /* VT-d second stage (9.8); EPT's R, W are the same */

struct pt {
    const struct pt_format *format;
    struct page_quota *quota;
    uint64_t *root;
    uint8_t levels; /* 3, 4 or 5 */
    uint8_t large;  /* bit n: leaves of level n + 2 allowed (bit 0: 2M, bit 1: 1G) */
    bool flush;     /* walks are not snooped: cache_flush each written line */
};

/* Make an empty table. @large: 1G only together with 2M. HV_ERANGE: not that many levels in this
 * format; HV_EQUOTA; HV_ENOMEM. Input addresses of all calls start at 0: no sign extension. */
enum hv_status pt_create(struct pt *pt, const struct pt_format *format, struct page_quota *quota,
                         unsigned levels, unsigned large, bool flush);
/* Free every table page (not what leaves point to). Hardware must no longer use it. */
void pt_destroy(struct pt *pt);

enum { PT_UC = 0x100 }; /* or'd to the permissions of pt_map: uncached (device memory) */

/** Map [in, in + size) to [out, out + size).
 *  @in, @out, @size: bytes, multiples of 4 KiB.  @perm: PT_R | PT_W | PT_X | PT_U | PT_UC, never 0.
 *  Uses the largest leaf that both addresses allow. Parents are stored after their children.
 *  @return HV_OK; HV_EALIGN; HV_ERANGE past the table's reach, or size 0; HV_EINVAL: neither read
 *          nor write nor execute; HV_EEXIST any byte mapped; HV_EQUOTA;
 *          HV_ENOMEM; on every error the mappings are unchanged.  Lock: the table owner's.
 *  Spec: VT-d 3.7 (second stage), 6.1 (caching mode), APM 2 15.25. */
enum hv_status pt_map(struct pt *pt, ptaddr_t in, paddr_t out, uint64_t size, unsigned perm);

/** Unmap [in, in + size); holes are fine. Splits large leaves at the edges, without a moment in
 * which the rest is absent. Emptied tables go on a list that the caller frees after invalidating.
 *  (A split that was followed by an error stays: same mappings, smaller leaves.)
 *  @freed: receives pages to give to pt_release once no hardware can reach them.
 *  @return HV_OK; HV_EALIGN; HV_ERANGE; HV_EQUOTA, HV_ENOMEM (a split needs a page; unchanged). */
struct pt_freed {
    uint64_t *head;
};
enum hv_status pt_unmap(struct pt *pt, ptaddr_t in, uint64_t size, struct pt_freed *freed);
void pt_release(struct pt *pt, struct pt_freed *freed);

/* Make @at a border between leaves: same mappings. After that an unmap that begins or ends there
 * needs no page for it. HV_EQUOTA, HV_ENOMEM. */
enum hv_status pt_split(struct pt *pt, ptaddr_t at);

/** Let more be done in the leaf that @in lies in, with one store: @perm is added to what it has.
 *  What is cached stays narrower until it is invalidated. @in is mapped. */
void pt_grant(struct pt *pt, ptaddr_t in, unsigned perm);

/** Look one address up: where @in itself goes, in a leaf of size bytes. What the format does not
 *  control is granted; PT_UC for uncached leaves. @return false: not mapped; so are all size bytes
 *  around it (0: beyond the table). */
struct pt_leaf {
    paddr_t out;
    uint64_t size;
    unsigned perm;
};
bool pt_lookup(const struct pt *pt, ptaddr_t in, struct pt_leaf *leaf);

#endif
