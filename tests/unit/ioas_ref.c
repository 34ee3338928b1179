/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/ioas_ref.h"

#include <stdlib.h>
#include <string.h>

#define PAGE  4096ull
#define LARGE (2ull << 20)
#define HUGE  (1ull << 30)

static bool overlap(struct ref_range a, struct ref_range b)
{
    return a.first <= b.last && b.first <= a.last;
}

static bool within(struct ref_range a, struct ref_range in)
{
    return a.first >= in.first && a.last <= in.last;
}

static struct ref_range range_of_mapping(const struct ref_mapping *m)
{
    return (struct ref_range){ m->first, m->last };
}

/* --- Ranges ----------------------------------------------------------------------------------- */

static uint64_t wanted_end(const struct ref_ioas *o)
{
    uint64_t end = 0;

    if (!o->nrequired)
        return o->aperture.last;
    for (unsigned i = 0; i < o->nrequired; i++)
        end = o->required[i].last > end ? o->required[i].last : end;
    return end;
}

/* The last address a device's unit can take: the shallowest table that suffices, or the deepest. */
static uint64_t limit_of(const struct ref_ioas *o, const struct ref_device *d)
{
    uint64_t best = 0, width = (1ull << d->width) - 1;

    for (unsigned levels = 5; levels >= 3; levels--) {
        uint64_t reach = (1ull << (12 + 9 * levels)) - 1;
        if ((d->depths >> (levels - 3) & 1) && (!best || reach >= wanted_end(o)))
            best = reach;
    }
    return best < width ? best : width;
}

static bool is_attached(const struct ref *r, unsigned ioas, unsigned device)
{
    for (unsigned p = 0; p < REF_PASIDS; p++) {
        const struct ref_target *t = &r->target[device][p];
        if (t->domain == HC_DOMAIN_PAGING && t->ioas == ioas)
            return true;
    }
    return false;
}

/* May anything lie at @address, with @also (-1: nobody) attached as well? */
static bool allowed_at(const struct ref *r, unsigned ioas, uint64_t address, int also)
{
    const struct ref_ioas *o = &r->ioas[ioas];
    struct ref_range at = { address, address };
    bool good = !o->nrequired && within(at, o->aperture);

    for (unsigned i = 0; i < o->nrequired; i++)
        good = good || within(at, o->required[i]);
    for (unsigned d = 0; d < r->ndevices; d++) {
        if (!is_attached(r, ioas, d) && (int)d != also)
            continue;
        good = good && address <= limit_of(o, &r->device[d]);
        for (unsigned i = 0; i < r->device[d].nreserved; i++)
            good = good && !within(at, r->device[d].reserved[i]);
    }
    return good;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* All addresses at which the answer could change. */
static unsigned borders(const struct ref *r, unsigned ioas, uint64_t *b)
{
    const struct ref_ioas *o = &r->ioas[ioas];
    unsigned n = 0;

    b[n++] = o->aperture.first;
    b[n++] = o->aperture.last + 1;
    for (unsigned i = 0; i < o->nrequired; i++) {
        b[n++] = o->required[i].first;
        b[n++] = o->required[i].last + 1;
    }
    for (unsigned d = 0; d < r->ndevices; d++) {
        b[n++] = limit_of(o, &r->device[d]) + 1;
        for (unsigned i = 0; i < r->device[d].nreserved; i++) {
            b[n++] = r->device[d].reserved[i].first;
            b[n++] = r->device[d].reserved[i].last + 1;
        }
    }
    qsort(b, n, sizeof(*b), ascending);
    return n;
}

static unsigned allowed_with(const struct ref *r, unsigned ioas, int also, struct ref_range *out)
{
    uint64_t b[256];
    unsigned nb = borders(r, ioas, b), n = 0;

    for (unsigned i = 0; i + 1 < nb; i++) {
        if (b[i] == b[i + 1] || !allowed_at(r, ioas, b[i], also))
            continue;
        if (n && out[n - 1].last + 1 == b[i])
            out[n - 1].last = b[i + 1] - 1;
        else
            out[n++] = (struct ref_range){ b[i], b[i + 1] - 1 };
    }
    return n;
}

unsigned ref_allowed(const struct ref *r, unsigned ioas, struct ref_range *out)
{
    return allowed_with(r, ioas, -1, out);
}

static bool in_one(const struct ref_range *list, unsigned n, struct ref_range range)
{
    for (unsigned i = 0; i < n; i++) {
        if (within(range, list[i]))
            return true;
    }
    return false;
}

static bool is_allowed(const struct ref *r, unsigned ioas, struct ref_range range)
{
    struct ref_range list[128];

    return in_one(list, ref_allowed(r, ioas, list), range);
}

/* Does all that there is lie within @list? (A mapping is never in two: ranges do not touch.) */
static bool all_within(const struct ref_ioas *o, const struct ref_range *list, unsigned n)
{
    for (unsigned i = 0; i < o->nmappings; i++) {
        if (!in_one(list, n, range_of_mapping(&o->mapping[i])))
            return false;
    }
    for (unsigned i = 0; i < o->nreserved; i++) {
        if (!in_one(list, n, o->reserved[i]))
            return false;
    }
    return true;
}

/* --- Life ------------------------------------------------------------------------------------- */

enum hv_status ref_create(struct ref *r, unsigned ioas, const struct hc_ioas_create *in)
{
    struct ref_range a = { in->first, in->last };

    if (in->flags || in->reserved || (in->levels && (in->first || in->last)))
        return HV_EINVAL;
    if (in->levels > 5 || in->levels == 1 || in->levels == 2)
        return HV_ERANGE;
    if (!in->first && !in->last)
        a.last = (1ull << (in->levels == 3 ? 39 : in->levels == 5 ? 57 : 48)) - 1;
    if (a.first % PAGE || (a.last + 1) % PAGE)
        return HV_EALIGN;
    if (a.first > a.last || a.last >= 1ull << 57)
        return HV_ERANGE;
    r->ioas[ioas] = (struct ref_ioas){ .there = true, .aperture = a };
    return HV_OK;
}

enum hv_status ref_destroy(struct ref *r, unsigned ioas)
{
    if (!r->ioas[ioas].there)
        return HV_ENOENT;
    for (unsigned d = 0; d < r->ndevices; d++) {
        if (is_attached(r, ioas, d))
            return HV_EBUSY;
    }
    r->ioas[ioas].there = false;
    return HV_OK;
}

/* --- Places ----------------------------------------------------------------------------------- */

static bool is_free(const struct ref_ioas *o, struct ref_range range)
{
    for (unsigned i = 0; i < o->nmappings; i++) {
        if (overlap(range, range_of_mapping(&o->mapping[i])))
            return false;
    }
    for (unsigned i = 0; i < o->nreserved; i++) {
        if (overlap(range, o->reserved[i]))
            return false;
    }
    return true;
}

static bool is_mapped(const struct ref_ioas *o, struct ref_range range)
{
    for (unsigned i = 0; i < o->nmappings; i++) {
        if (overlap(range, range_of_mapping(&o->mapping[i])))
            return true;
    }
    return false;
}

/* The end of the free run that begins at @at, in @in. */
static uint64_t run_end(const struct ref_ioas *o, uint64_t at, struct ref_range in)
{
    uint64_t end = in.last;

    for (unsigned i = 0; i < o->nmappings; i++) {
        if (o->mapping[i].first > at && o->mapping[i].first - 1 < end)
            end = o->mapping[i].first - 1;
    }
    for (unsigned i = 0; i < o->nreserved; i++) {
        if (o->reserved[i].first > at && o->reserved[i].first - 1 < end)
            end = o->reserved[i].first - 1;
    }
    return end;
}

static void try_run(const struct ref_ioas *o, uint64_t at, struct ref_range in, uint64_t bytes,
                    uint64_t *best)
{
    if (at < in.first || at > in.last || at >= *best || !is_free(o, (struct ref_range){ at, at }))
        return;
    if (run_end(o, at, in) - at + 1 >= bytes)
        *best = at;
}

static bool lowest_run(const struct ref *r, unsigned ioas, uint64_t from, uint64_t bytes,
                       uint64_t *at)
{
    const struct ref_ioas *o = &r->ioas[ioas];
    struct ref_range list[128];
    unsigned n = ref_allowed(r, ioas, list);

    *at = UINT64_MAX;
    for (unsigned i = 0; i < n; i++) {
        struct ref_range in = list[i];
        if (in.last < from)
            continue;
        in.first = in.first > from ? in.first : from;
        try_run(o, in.first, in, bytes, at);
        for (unsigned k = 0; k < o->nmappings; k++)
            try_run(o, o->mapping[k].last + 1, in, bytes, at);
        for (unsigned k = 0; k < o->nreserved; k++)
            try_run(o, o->reserved[k].last + 1, in, bytes, at);
    }
    return *at != UINT64_MAX;
}

static enum hv_status find(const struct ref *r, unsigned ioas, uint64_t hint, uint64_t bytes,
                           uint64_t gpa, uint64_t *at)
{
    uint64_t align = bytes >= HUGE ? HUGE : bytes >= LARGE ? LARGE : PAGE;

    if (bytes > 1ull << 57)
        return HV_ENOSPC;
    for (;;) {
        if (lowest_run(r, ioas, hint, bytes + align - PAGE, at) ||
            lowest_run(r, ioas, 0, bytes + align - PAGE, at)) {
            while ((*at ^ gpa) % align) /* at most 2^18 pages */
                *at += (align == HUGE && (*at ^ gpa) % LARGE == 0) ? LARGE : PAGE;
            return HV_OK;
        }
        if (align == PAGE)
            return HV_ENOSPC;
        align = PAGE;
    }
}

static enum hv_status check_range(uint64_t first, uint64_t bytes)
{
    if (first % PAGE || bytes % PAGE)
        return HV_EALIGN;
    if (!bytes)
        return HV_EINVAL;
    return first + bytes - 1 < first ? HV_ERANGE : HV_OK;
}

bool ref_in_ram(const struct ref *r, uint64_t gpa, uint64_t bytes)
{
    for (unsigned i = 0; i < 2; i++) {
        if (gpa >= r->ram[i].first && gpa <= r->ram[i].last && bytes - 1 <= r->ram[i].last - gpa)
            return true;
    }
    return false;
}

/* --- On demand -------------------------------------------------------------------------------- */

bool ref_has_demand(const struct ref *r, unsigned ioas)
{
    const struct ref_ioas *o = &r->ioas[ioas];

    for (unsigned i = 0; i < o->nmappings; i++) {
        if (o->mapping[i].access & HC_IOAS_ON_DEMAND)
            return true;
    }
    return false;
}

enum hv_status ref_may_ask(const struct ref *r, unsigned device)
{
    if (r->iopf[device] & HC_IOPF_MAP)
        return HV_OK;
    return r->device[device].pri ? HV_EORDER : HV_ENOTSUP;
}

/* May something on demand be mapped there? */
static enum hv_status all_may_ask(const struct ref *r, unsigned ioas)
{
    for (unsigned d = 0; d < r->ndevices; d++) {
        if (is_attached(r, ioas, d) && ref_may_ask(r, d) != HV_OK)
            return ref_may_ask(r, d);
    }
    return HV_OK;
}

/* --- Map, unmap, copy ------------------------------------------------------------------------- */

enum hv_status ref_map(struct ref *r, unsigned ioas, const struct hc_ioas_map *in, uint64_t *value)
{
    struct ref_ioas *o = &r->ioas[ioas];
    bool fixed = in->flags & HC_IOAS_FIXED, reserve = in->flags & HC_IOAS_RESERVE;
    uint32_t access =
        in->flags & (HC_IOAS_READ | HC_IOAS_WRITE | HC_IOAS_UNCACHED | HC_IOAS_ON_DEMAND);
    uint64_t at = in->iova;

    if (in->flags > 63 || in->reserved)
        return HV_EINVAL;
    if (reserve && (access || in->gpa))
        return HV_EINVAL;
    if (!reserve && !(in->flags & (HC_IOAS_READ | HC_IOAS_WRITE)))
        return HV_EINVAL;
    if (!o->there)
        return HV_ENOENT;
    enum hv_status status = check_range(at, in->bytes);
    if (status != HV_OK)
        return status;
    if (in->gpa % PAGE)
        return HV_EALIGN;
    if (!reserve && !ref_in_ram(r, in->gpa, in->bytes))
        return HV_EFAULT;
    if (!fixed)
        status = find(r, ioas, in->iova, in->bytes, in->gpa, &at);
    if (status != HV_OK)
        return status;
    struct ref_range range = { at, at + in->bytes - 1 };
    if (!is_allowed(r, ioas, range))
        return HV_ERANGE;
    if (access & HC_IOAS_ON_DEMAND)
        status = all_may_ask(r, ioas);
    if (status != HV_OK)
        return status;
    if (reserve ? !is_free(o, range) : is_mapped(o, range))
        return HV_EEXIST;
    if (reserve)
        o->reserved[o->nreserved++] = range;
    else
        o->mapping[o->nmappings++] =
            (struct ref_mapping){ range.first, range.last, in->gpa, access };
    *value = fixed ? in->bytes : at;
    return HV_OK;
}

static uint64_t common(struct ref_range a, struct ref_range b)
{
    uint64_t first = a.first > b.first ? a.first : b.first,
             last = a.last < b.last ? a.last : b.last;

    return first <= last ? last - first + 1 : 0;
}

/* Both lists keep what of each entry lies outside @range. @return bytes taken out. */
static uint64_t cut_mappings(struct ref_ioas *o, struct ref_range range)
{
    uint64_t bytes = 0;

    for (unsigned i = o->nmappings; i--;) {
        struct ref_mapping m = o->mapping[i];
        if (!overlap(range_of_mapping(&m), range))
            continue;
        bytes += common(range_of_mapping(&m), range);
        o->mapping[i] = o->mapping[--o->nmappings];
        if (m.first < range.first)
            o->mapping[o->nmappings++] =
                (struct ref_mapping){ m.first, range.first - 1, m.gpa, m.access };
        if (m.last > range.last)
            o->mapping[o->nmappings++] =
                (struct ref_mapping){ range.last + 1, m.last, m.gpa + (range.last + 1 - m.first),
                                      m.access };
    }
    return bytes;
}

static uint64_t cut_reserved(struct ref_ioas *o, struct ref_range range)
{
    uint64_t bytes = 0;

    for (unsigned i = o->nreserved; i--;) {
        struct ref_range m = o->reserved[i];
        if (!overlap(m, range))
            continue;
        bytes += common(m, range);
        o->reserved[i] = o->reserved[--o->nreserved];
        if (m.first < range.first)
            o->reserved[o->nreserved++] = (struct ref_range){ m.first, range.first - 1 };
        if (m.last > range.last)
            o->reserved[o->nreserved++] = (struct ref_range){ range.last + 1, m.last };
    }
    return bytes;
}

static bool cuts_one(const struct ref_ioas *o, struct ref_range range)
{
    for (unsigned i = 0; i < o->nmappings; i++) {
        struct ref_range m = range_of_mapping(&o->mapping[i]);
        if (overlap(m, range) && !within(m, range))
            return true;
    }
    return false;
}

enum hv_status ref_unmap(struct ref *r, unsigned ioas, const struct hc_ioas_unmap *in,
                         uint64_t *value)
{
    struct ref_ioas *o = &r->ioas[ioas];
    bool exact = in->flags & HC_IOAS_EXACT, all = in->flags & HC_IOAS_ALL;
    struct ref_range range = { 0, UINT64_MAX };

    if (in->flags > 7 || in->reserved || (exact && in->flags != HC_IOAS_EXACT) ||
        (all && (in->iova || in->bytes)))
        return HV_EINVAL;
    if (!o->there)
        return HV_ENOENT;
    if (!all) {
        enum hv_status status = check_range(in->iova, in->bytes);
        if (status != HV_OK)
            return status;
        range = (struct ref_range){ in->iova, in->iova + in->bytes - 1 };
    }
    if (exact && cuts_one(o, range))
        return HV_EINVAL;
    uint64_t bytes =
        in->flags & HC_IOAS_UNRESERVE ? cut_reserved(o, range) : cut_mappings(o, range);
    if (!bytes)
        return HV_ENOENT;
    *value = bytes;
    return HV_OK;
}

static const struct ref_mapping *mapping_at(const struct ref_ioas *o, uint64_t at)
{
    for (unsigned i = 0; i < o->nmappings; i++) {
        if (o->mapping[i].first <= at && at <= o->mapping[i].last)
            return &o->mapping[i];
    }
    return NULL;
}

static bool reserved_at(const struct ref_ioas *o, uint64_t at)
{
    for (unsigned i = 0; i < o->nreserved; i++) {
        if (o->reserved[i].first <= at && at <= o->reserved[i].last)
            return true;
    }
    return false;
}

/* Up to where the same mapping, or nothing but reservation, goes from @at on, to @last at most.
 * False: there is neither. */
static bool piece(const struct ref_ioas *o, uint64_t at, uint64_t last, uint64_t *end)
{
    const struct ref_mapping *m = mapping_at(o, at);

    if (!m && !reserved_at(o, at))
        return false;
    if (m) {
        *end = m->last < last ? m->last : last;
        return true;
    }
    while (at - 1 != last && reserved_at(o, at) && !mapping_at(o, at))
        at += PAGE;
    *end = at - 1;
    return true;
}

enum hv_status ref_copy(struct ref *r, unsigned to, unsigned from, const struct hc_ioas_copy *in,
                        uint64_t most, uint64_t *value)
{
    struct ref_ioas *o = &r->ioas[to], *s = &r->ioas[from];
    bool fixed = in->flags & HC_IOAS_FIXED;
    uint64_t at = in->to_iova, end, done = 0;

    if (in->flags & ~(uint32_t)HC_IOAS_FIXED)
        return HV_EINVAL;
    if (!o->there || !s->there)
        return HV_ENOENT;
    enum hv_status status = check_range(in->from_iova, in->bytes);
    if (status == HV_OK)
        status = check_range(in->to_iova, in->bytes);
    if (status != HV_OK)
        return status;
    uint64_t last = in->from_iova + in->bytes - 1;
    if (!piece(s, in->from_iova, last, &end))
        return HV_ENOENT;
    const struct ref_mapping *m = mapping_at(s, in->from_iova);
    uint64_t gpa = m ? m->gpa + (in->from_iova - m->first) : 0;
    if (!fixed)
        status = find(r, to, in->to_iova, in->bytes, gpa, &at);
    if (status != HV_OK)
        return status;
    if (!is_allowed(r, to, (struct ref_range){ at, at + in->bytes - 1 }))
        return HV_ERANGE;
    for (uint64_t page = in->from_iova; page - 1 != last; page += PAGE) {
        if (!mapping_at(s, page) && !reserved_at(s, page))
            return HV_ENOENT;
    }
    for (uint64_t page = in->from_iova; !fixed && page - 1 != last; page += PAGE) {
        m = mapping_at(s, page); /* all or nothing */
        if (m && (m->access & HC_IOAS_ON_DEMAND) && all_may_ask(r, to) != HV_OK)
            return all_may_ask(r, to);
    }
    while (done < in->bytes && done < most) {
        uint64_t source = in->from_iova + done;
        (void)piece(s, source, last, &end);
        struct ref_range range = { at + done, at + (end - in->from_iova) };
        m = mapping_at(s, source);
        if (m && (m->access & HC_IOAS_ON_DEMAND))
            status = all_may_ask(r, to);
        if (status != HV_OK)
            break;
        if (m ? is_mapped(o, range) : !is_free(o, range)) {
            status = HV_EEXIST;
            break;
        }
        if (m)
            o->mapping[o->nmappings++] =
                (struct ref_mapping){ range.first, range.last, m->gpa + (source - m->first),
                                      m->access };
        else
            o->reserved[o->nreserved++] = range;
        done = end - in->from_iova + 1;
    }
    *value = fixed ? done : at;
    return status;
}

/* --- Required ranges, what an attach asks
 * ----------------------------------------------------------------
 */

enum hv_status ref_require(struct ref *r, unsigned ioas, const struct hc_iova_range *list,
                           unsigned count)
{
    struct ref_ioas *o = &r->ioas[ioas];
    struct ref_range joined[HC_IOAS_REQUIRED_MAX];
    unsigned n = 0;

    if (!o->there)
        return HV_ENOENT;
    if (!count || count > HC_IOAS_REQUIRED_MAX)
        return HV_ERANGE;
    if (o->nrequired)
        return HV_EEXIST;
    for (unsigned i = 0; i < count; i++) {
        struct ref_range range = { list[i].first, list[i].last };
        if (range.first % PAGE || (range.last + 1) % PAGE)
            return HV_EALIGN;
        if (range.first > range.last || (i && range.first <= list[i - 1].last))
            return HV_EINVAL;
        if (!is_allowed(r, ioas, range))
            return HV_EREQUIRED;
        if (n && joined[n - 1].last + 1 == range.first)
            joined[n - 1].last = range.last;
        else
            joined[n++] = range;
    }
    if (!all_within(o, joined, n))
        return HV_EBUSY;
    memcpy(o->required, joined, n * sizeof(joined[0]));
    o->nrequired = n;
    return HV_OK;
}

enum hv_status ref_check_ioas(const struct ref *r, unsigned ioas, unsigned device)
{
    const struct ref_ioas *o = &r->ioas[ioas];
    struct ref_range list[128];

    if (ref_has_demand(r, ioas) && ref_may_ask(r, device) != HV_OK)
        return ref_may_ask(r, device);
    if (is_attached(r, ioas, device))
        return HV_OK;
    if (!r->device[device].depths)
        return HV_ENOTSUP;
    unsigned n = allowed_with(r, ioas, (int)device, list);
    if (!n)
        return HV_ENOTSUP;
    for (unsigned i = 0; i < o->nrequired; i++) {
        if (!in_one(list, n, o->required[i]))
            return HV_EREQUIRED;
    }
    return all_within(o, list, n) ? HV_OK : HV_EBUSY;
}

enum ref_reach ref_ioas_translate(const struct ref *r, unsigned ioas, uint64_t address, bool write,
                                  bool writable_is_readable, uint64_t *gpa)
{
    const struct ref_mapping *m = mapping_at(&r->ioas[ioas], address);
    uint32_t wanted = write ? HC_IOAS_WRITE : HC_IOAS_READ;

    if (!write && writable_is_readable)
        wanted |= HC_IOAS_WRITE;
    if (!m || !(m->access & wanted))
        return REF_NO;
    *gpa = m->gpa + (address - m->first);
    return m->access & HC_IOAS_ON_DEMAND ? REF_MAYBE : REF_YES;
}

bool ref_ioas_serves(const struct ref *r, unsigned ioas, uint64_t address, bool write)
{
    const struct ref_mapping *m = mapping_at(&r->ioas[ioas], address);

    return m && (m->access & HC_IOAS_ON_DEMAND) && (m->access & HC_IOAS_READ) &&
           (!write || (m->access & HC_IOAS_WRITE));
}
