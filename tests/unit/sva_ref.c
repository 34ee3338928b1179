/* SPDX-License-Identifier: BSD-2-Clause */
/* The rules of Attach, SVA and IOPF, by brute force: see ioas_ref.h. */
#include <string.h>

#include "tests/unit/ioas_ref.h"

const uint32_t ref_pasids[REF_PASIDS] = { HC_PASID_NONE, 1, 2, 3, 4, 5, 6, 77, 0xfffff };

/* --- What a PASID means ----------------------------------------------------------------------- */

static bool same(const struct ref_target *a, const struct ref_target *b)
{
    if (a->domain != b->domain)
        return false;
    return a->domain == HC_DOMAIN_PAGING   ? a->ioas == b->ioas
           : a->domain == HC_DOMAIN_NESTED ? a->root == b->root
                                           : true;
}

/* How many devices carry a PASID, and what it means to all of them (NULL: nothing). */
static unsigned carriers(const struct ref *r, unsigned slot, const struct ref_target **meaning)
{
    unsigned n = 0;

    *meaning = NULL;
    for (unsigned d = 0; d < r->ndevices; d++) {
        if (r->target[d][slot].domain == HC_DOMAIN_BLOCKED)
            continue;
        *meaning = &r->target[d][slot];
        n++;
    }
    return n;
}

bool ref_carried(const struct ref *r, unsigned slot)
{
    const struct ref_target *meaning;

    return carriers(r, slot, &meaning) != 0;
}

/* The slot of the SVA space of a root, 0: it has none. */
static unsigned space_of(const struct ref *r, unsigned root)
{
    const struct ref_target *t;

    for (unsigned slot = 1; slot < REF_PASIDS; slot++) {
        if (r->sva[slot] && carriers(r, slot, &t) && t->root == root)
            return slot;
    }
    return 0;
}

static bool fits(const struct ref_device *d, unsigned slot)
{
    return slot == 0 || !(ref_pasids[slot] >> d->pasid_bits);
}

/* --- RAM that is on demand -------------------------------------------------------------------- */

/* Number of a page of RAM. */
static unsigned number_of(const struct ref *r, uint64_t gpa)
{
    uint64_t low = (r->ram[0].last + 1 - r->ram[0].first) / 4096;

    return (unsigned)(gpa <= r->ram[0].last ? (gpa - r->ram[0].first) / 4096
                                            : low + (gpa - r->ram[1].first) / 4096);
}

static bool is_absent(const struct ref *r, unsigned device, uint64_t gpa)
{
    return r->absent[r->device[device].unit][number_of(r, gpa)];
}

/* May a device be attached to RAM as such? */
static enum hv_status check_ram(const struct ref *r, unsigned device)
{
    for (unsigned i = 0; i < REF_RAM; i++) {
        if (r->absent[r->device[device].unit][i])
            return ref_may_ask(r, device);
    }
    return HV_OK;
}

/* Is it, or could it come back to it? */
static bool on_ram(const struct ref *r, unsigned device)
{
    for (unsigned slot = 0; slot < REF_PASIDS; slot++) {
        enum hc_domain domain = r->target[device][slot].domain;
        if (domain == HC_DOMAIN_IDENTITY || domain == HC_DOMAIN_NESTED)
            return true;
    }
    return false;
}

enum hv_status ref_memory(struct ref *r, const struct hc_memory_on_demand *in, uint64_t *value)
{
    const bool absent = !(in->flags & HC_MEMORY_PRESENT);
    bool any = false;

    if (in->flags > 1)
        return HV_EINVAL;
    if (in->gpa % 4096 || in->bytes % 4096)
        return HV_EALIGN;
    if (!in->bytes)
        return HV_EINVAL;
    if (!ref_in_ram(r, in->gpa, in->bytes))
        return HV_EFAULT;
    for (unsigned d = 0; d < r->ndevices; d++)
        any = any || r->device[d].pri;
    if (!any)
        return HV_ENOTSUP;
    for (unsigned d = 0; absent && d < r->ndevices; d++) {
        if (on_ram(r, d) && ref_may_ask(r, d) != HV_OK)
            return ref_may_ask(r, d);
    }
    for (uint64_t at = 0; at < in->bytes; at += 4096) {
        for (unsigned u = 0; u < REF_UNITS; u++)
            r->absent[u][number_of(r, in->gpa + at)] = absent;
    }
    *value = in->bytes;
    return HV_OK;
}

/* All of the 2 MiB around it if all of them are absent and its unit has such leaves, else it. */
static void bring(struct ref *r, unsigned device, uint64_t gpa)
{
    bool *absent = r->absent[r->device[device].unit];
    const unsigned first = number_of(r, gpa & ~0x1fffffull);
    bool whole = r->device[device].large;

    for (unsigned i = first; i < first + 512; i++)
        whole = whole && absent[i];
    for (unsigned i = first; whole && i < first + 512; i++)
        absent[i] = false;
    absent[number_of(r, gpa)] = false;
}

/* --- Page requests ---------------------------------------------------------------------------- */

void ref_answered(struct ref *r, unsigned i, uint8_t code)
{
    const struct ref_group *g = &r->open[i];

    r->due[r->ndue++] = (struct ref_answer){ g->device, g->slot, g->number, code };
    r->open[i] = r->open[--r->nopen];
}

/* What is open is answered INVALID. @slot: REF_PASIDS: of all. */
static void drop(struct ref *r, unsigned device, unsigned slot)
{
    for (unsigned i = r->nopen; i--;) {
        if (r->open[i].device == device && (slot == REF_PASIDS || r->open[i].slot == slot))
            ref_answered(r, i, HC_RESPONSE_INVALID);
    }
}

void ref_fail(struct ref *r, unsigned device)
{
    r->failed[device] = true;
    for (unsigned i = r->nopen; i--;) {
        if (r->open[i].device == device)
            r->open[i] = r->open[--r->nopen];
    }
}

struct ref_page *ref_page(struct ref *r, unsigned root, uint64_t va)
{
    for (unsigned i = 0; i < r->root[root].n; i++) {
        if (r->root[root].page[i].va == (va & ~4095ull))
            return &r->root[root].page[i];
    }
    return NULL;
}

static const struct ref_page *page_for(const struct ref *r, unsigned root, uint64_t va, bool write)
{
    const struct ref_page *p = ref_page((struct ref *)r, root, va);

    return p && p->user && (p->write || !write) ? p : NULL;
}

/* A first stage, which the unit walks, or Sluice for it. */
static enum ref_request nested_request(struct ref *r, unsigned device, const struct ref_target *t,
                                       uint64_t address, bool write)
{
    const bool map = r->iopf[device] & HC_IOPF_MAP,
               guests = (r->iopf[device] & HC_IOPF_BIND) && t->faults;
    const struct ref_page *p = page_for(r, t->root, address, write);

    if (!map && !guests)
        return REF_INVALID;
    if (!p)
        return guests ? REF_GUEST : REF_INVALID;
    if (!ref_in_ram(r, p->gpa, 4096))
        return REF_INVALID; /* nobody can serve it */
    if (!map && !r->device[device].shadow)
        return REF_GUEST;
    bring(r, device, p->gpa);
    return REF_SUCCESS;
}

enum ref_request ref_page_request(struct ref *r, unsigned device, unsigned slot, uint64_t address,
                                  bool write)
{
    const struct ref_target *t = &r->target[device][slot];

    if (t->blocked)
        return REF_INVALID;
    if (t->domain == HC_DOMAIN_NESTED)
        return nested_request(r, device, t, address, write);
    if (!(r->iopf[device] & HC_IOPF_MAP))
        return REF_INVALID;
    if (t->domain == HC_DOMAIN_PAGING)
        return ref_ioas_serves(r, t->ioas, address, write) ? REF_SUCCESS : REF_INVALID;
    if (t->domain != HC_DOMAIN_IDENTITY || !ref_in_ram(r, address, 4096))
        return REF_INVALID;
    bring(r, device, address);
    return REF_SUCCESS;
}

void ref_guest_answered(struct ref *r, unsigned i, uint8_t code)
{
    const struct ref_group *g = &r->open[i];
    const struct ref_page *p =
        page_for(r, r->target[g->device][g->slot].root, g->address, g->write);

    if (code == HC_RESPONSE_SUCCESS && r->device[g->device].shadow && p &&
        ref_in_ram(r, p->gpa, 4096))
        bring(r, g->device, p->gpa);
    ref_answered(r, i, code);
}

/* --- Attach ----------------------------------------------------------------------------------- */

enum hv_status ref_attach(struct ref *r, unsigned device, unsigned pasid, struct ref_target target)
{
    struct ref_target *here = &r->target[device][pasid];
    const struct ref_device *d = &r->device[device];
    const struct ref_target *meaning = here->domain ? here : NULL;
    unsigned n = 1;

    if (pasid && !d->pasid_bits)
        return HV_ENOTSUP;
    if (!fits(d, pasid))
        return HV_ERANGE;
    if (target.domain == HC_DOMAIN_PAGING && !r->ioas[target.ioas].there)
        return HV_ENOENT;
    if (target.domain == HC_DOMAIN_NESTED && !d->nested && !d->shadow)
        return HV_ENOTSUP;
    if (target.domain == HC_DOMAIN_BLOCKED) {
        drop(r, device, pasid);
        here->blocked = true;
        if (!here->refs)
            *here = (struct ref_target){ 0 };
        if (pasid && !carriers(r, pasid, &meaning))
            r->sva[pasid] = false;
        return HV_OK;
    }
    if (r->failed[device])
        return HV_EIO;
    if (pasid) /* means one thing, whichever device carries it */
        n = carriers(r, pasid, &meaning);
    if (here->domain && same(here, &target)) {
        here->blocked = false;
        return HV_OK;
    }
    if (meaning && !same(meaning, &target)) {
        if (!here->domain || here->refs || n > 1)
            return HV_EEXIST; /* somebody else relies on it */
        meaning = NULL;
    }
    if (target.domain == HC_DOMAIN_PAGING) {
        enum hv_status status = ref_check_ioas(r, target.ioas, device);
        if (status != HV_OK)
            return status;
    } else if (check_ram(r, device) != HV_OK) {
        return check_ram(r, device);
    }
    drop(r, device, pasid);
    if (pasid && !meaning)
        r->sva[pasid] = false;
    target.faults = true;
    *here = target;
    return HV_OK;
}

/* --- SVA -------------------------------------------------------------------------------------- */

/* Which PASID a bind is about. */
static enum hv_status choose(const struct ref *r, unsigned device, unsigned root, unsigned *slot)
{
    const struct ref_target wanted = { .domain = HC_DOMAIN_NESTED, .root = root };
    const struct ref_device *d = &r->device[device];
    unsigned known = space_of(r, root);
    const struct ref_target *meaning;

    if (*slot != REF_ANY && (*slot == 0 || !fits(d, *slot)))
        return HV_ERANGE;
    if (known) {
        if (*slot != REF_ANY && *slot != known)
            return HV_EEXIST;
        *slot = known;
        return fits(d, known) ? HV_OK : HV_ERANGE;
    }
    if (*slot == REF_ANY) {
        for (*slot = 1; carriers(r, *slot, &meaning);)
            ++*slot;
        return HV_OK;
    }
    return carriers(r, *slot, &meaning) && !same(meaning, &wanted) ? HV_EEXIST : HV_OK;
}

enum hv_status ref_bind(struct ref *r, unsigned device, unsigned root, uint32_t flags,
                        unsigned *slot)
{
    const struct ref_device *d = &r->device[device];
    bool wants = !(flags & HC_BIND_NO_IOPF);

    if (flags & ~(uint32_t)HC_BIND_NO_IOPF)
        return HV_EINVAL;
    if (r->failed[device])
        return HV_EIO;
    if ((!d->nested && !d->shadow) || !d->pasid_bits)
        return HV_ENOTSUP;
    enum hv_status status = choose(r, device, root, slot);
    if (status != HV_OK)
        return status;
    if (wants && d->pri && !(r->iopf[device] & HC_IOPF_BIND))
        return HV_EORDER;
    struct ref_target *t = &r->target[device][*slot];
    if (!t->domain && check_ram(r, device) != HV_OK)
        return check_ram(r, device);
    if (!t->domain)
        *t = (struct ref_target){ .domain = HC_DOMAIN_NESTED, .root = root };
    t->blocked = false;
    if (!t->refs++ || wants)
        t->faults = wants;
    t->iopf = t->iopf || (wants && d->pri);
    r->sva[*slot] = true;
    return HV_OK;
}

enum hv_status ref_unbind(struct ref *r, unsigned device, unsigned slot, uint64_t *left)
{
    struct ref_target *t = &r->target[device][slot];

    if (!t->refs)
        return HV_ENOENT;
    *left = --t->refs;
    if (!t->refs) {
        drop(r, device, slot);
        *t = (struct ref_target){ 0 };
        r->sva[slot] = r->sva[slot] && carriers(r, slot, &(const struct ref_target *){ NULL });
    }
    return HV_OK;
}

/* --- IOPF ------------------------------------------------------------------------------------- */

enum hv_status ref_iopf_enable(struct ref *r, unsigned device, uint32_t categories)
{
    if (!categories || categories > (HC_IOPF_BIND | HC_IOPF_MAP))
        return HV_EINVAL;
    if (!r->device[device].pri)
        return HV_ENOTSUP;
    if (r->failed[device])
        return HV_EIO;
    if (r->iopf[device])
        return HV_EEXIST;
    for (unsigned slot = 1; slot < REF_PASIDS; slot++) {
        if (r->target[device][slot].refs)
            return HV_EORDER;
    }
    r->iopf[device] = categories;
    return HV_OK;
}

enum hv_status ref_iopf_disable(struct ref *r, unsigned device)
{
    if (!r->iopf[device])
        return HV_EORDER;
    for (unsigned slot = 1; slot < REF_PASIDS; slot++) {
        if (r->target[device][slot].iopf)
            return HV_EBUSY;
    }
    for (unsigned slot = 0; slot < REF_PASIDS && (r->iopf[device] & HC_IOPF_MAP); slot++) {
        const struct ref_target *t = &r->target[device][slot];
        if (t->domain == HC_DOMAIN_PAGING && ref_has_demand(r, t->ioas))
            return HV_EBUSY;
    }
    if ((r->iopf[device] & HC_IOPF_MAP) && on_ram(r, device)) {
        r->iopf[device] &= ~(uint32_t)HC_IOPF_MAP; /* would it be refused without? */
        enum hv_status status = check_ram(r, device);
        r->iopf[device] |= HC_IOPF_MAP;
        if (status != HV_OK)
            return HV_EBUSY;
    }
    drop(r, device, REF_PASIDS);
    r->iopf[device] = 0;
    return HV_OK;
}

enum hv_status ref_reset(struct ref *r, unsigned device)
{
    if (!r->device[device].resets)
        return HV_ENOTSUP;
    drop(r, device, REF_PASIDS);
    for (unsigned slot = 0; slot < REF_PASIDS; slot++) {
        r->target[device][slot] = (struct ref_target){ 0 };
        r->sva[slot] = r->sva[slot] && ref_carried(r, slot);
    }
    r->iopf[device] = 0;
    r->failed[device] = false;
    return HV_OK;
}

/* --- Where DMA goes --------------------------------------------------------------------------- */

bool ref_has_root(const struct ref *r, unsigned device, unsigned slot)
{
    return r->target[device][slot].domain == HC_DOMAIN_NESTED;
}

enum ref_reach ref_translate(const struct ref *r, unsigned device, unsigned pasid, uint64_t address,
                             bool write, uint64_t *gpa)
{
    const struct ref_target *t = &r->target[device][pasid];
    const struct ref_page *p;

    *gpa = address;
    if (t->blocked || r->failed[device])
        return REF_NO;
    switch (t->domain) {
    case HC_DOMAIN_IDENTITY: break;
    case HC_DOMAIN_PAGING:
        return ref_ioas_translate(r, t->ioas, address, write,
                                  r->device[device].writable_is_readable, gpa);
    case HC_DOMAIN_NESTED:
        p = page_for(r, t->root, address, write);
        if (!p)
            return REF_NO;
        *gpa = p->gpa | (address & 4095);
        break;
    default: return REF_NO;
    }
    return ref_in_ram(r, *gpa, 1) && !is_absent(r, device, *gpa) ? REF_YES : REF_NO;
}
