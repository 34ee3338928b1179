/* SPDX-License-Identifier: BSD-2-Clause */
/* From guest addresses to bytes, once each. */
#include "hv/guest_memory.h"

#include <string.h>

#include "hv/platform.h"
#include "hv/vm.h"

void *vm_ram(const struct vm *vm, gpaddr_t gpa, uint64_t size)
{
    for (unsigned i = 0; i < vm->nram; i++) {
        const struct vm_ram *ram = &vm->ram[i];
        uint64_t offset = gpa.v - ram->gpa.v;
        if (offset < ram->size)
            return size <= ram->size - offset ? phys_to_virt(PADDR(ram->hpa.v + offset)) : NULL;
    }
    return NULL;
}

/* The guest writes while we read: each of these bytes is loaded once. */
static void copy_once(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    atomic_signal_fence(memory_order_seq_cst); /* what follows looks at the copy */
}

typedef uint32_t __attribute__((may_alias)) size_field; /* the first of every structure */

/* @size was read once, before; a tail is looked at in place, as nobody uses it afterwards. */
static enum hv_status check_size(uint64_t size, uint32_t min)
{
    return size < min ? HV_E2SMALL : size > PAGE_SIZE ? HV_E2BIG : HV_OK;
}

static enum hv_status take(const uint8_t *in, uint32_t size, uint32_t known, void *out)
{
    for (uint32_t i = known; i < size; i++) {
        if (in[i])
            return HV_E2BIG;
    }
    uint32_t have = size < known ? size : known;
    copy_once(out, in, have);
    if (have < known)
        memset((uint8_t *)out + have, 0, known - have);
    *(size_field *)out = size; /* as checked */
    return HV_OK;
}

enum hv_status guest_check_struct(const void *in, uint32_t avail, uint32_t min, uint32_t known,
                                  void *out)
{
    uint32_t size;

    memcpy(&size, in, sizeof(size));
    enum hv_status status = check_size(size, min);
    if (status != HV_OK)
        return status;
    return size > avail ? HV_E2BIG : take(in, size, known, out);
}

enum hv_status guest_copy_struct(const struct vm *vm, gpaddr_t gpa, uint32_t min, uint32_t known,
                                 void *out)
{
    if (gpa.v & 7)
        return HV_EALIGN;
    const void *in = vm_ram(vm, gpa, sizeof(uint32_t));
    if (!in)
        return HV_EFAULT;
    uint32_t size = *(const volatile uint32_t *)in;
    enum hv_status status = check_size(size, min);
    if (status != HV_OK)
        return status;
    return vm_ram(vm, gpa, size) ? take(in, size, known, out) : HV_EFAULT;
}

enum hv_status guest_copy_out(const struct vm *vm, gpaddr_t gpa, uint64_t size, uint32_t min,
                              uint32_t known, void *in, uint64_t *written)
{
    if (gpa.v & 7)
        return HV_EALIGN;
    if (size < min)
        return HV_E2SMALL;
    void *out = vm_ram(vm, gpa, size);
    if (!out)
        return HV_EFAULT;
    uint32_t give = size < known ? (uint32_t)size : known;
    memcpy(in, &give, sizeof(give));
    memcpy(out, in, give);
    *written = give;
    return HV_OK;
}

/* First-stage entries (VT-d 9.7): as the CPU's. */
enum {
    FS_PRESENT = 1u << 0,
    FS_WRITE = 1u << 1,
    FS_USER = 1u << 2,
    FS_ACCESSED = 1u << 5,
    FS_DIRTY = 1u << 6,
    FS_LARGE = 1u << 7,
};
#define FS_ADDRESS    0x000ffffffffff000ull
#define FS_LEVELS_MAX 5u
#define MARK_TRIES    4u

/* What one walk read. */
struct trace {
    struct {
        uint64_t *at, value, table;
    } entry[FS_LEVELS_MAX]; /* from the root down */
    unsigned n;
    uint64_t page, size; /* of 4 KiB; of the leaf */
    bool writable;
};

/* A walk for an access that needs the bits @need of every entry. */
static enum guest_walk walk(const struct vm *vm, gpaddr_t root, unsigned levels, uint64_t address,
                            uint64_t need, struct trace *t)
{
    unsigned shift = PAGE_SHIFT + 9 * levels;
    uint64_t table = root.v;

    t->n = 0; /* the rest counts as far as this says */
    t->writable = true;
    /* Not canonical: no table describes it. */
    int64_t sign = (int64_t)(address << (64 - shift)) >> (64 - shift);
    if ((uint64_t)sign != address)
        return GUEST_WALK_ABSENT;
    do {
        shift -= 9;
        uint64_t *page = vm_ram(vm, GPADDR(table), PAGE_SIZE);
        if (!page)
            return GUEST_WALK_OUTSIDE;
        uint64_t *at = &page[address >> shift & 511];
        uint64_t entry = *(const volatile uint64_t *)at;
        t->entry[t->n].at = at;
        t->entry[t->n].table = table;
        t->entry[t->n++].value = entry;
        if ((entry & need) != need)
            return GUEST_WALK_ABSENT;
        t->writable = t->writable && (entry & FS_WRITE);
        table = entry & FS_ADDRESS;
        if (shift > PAGE_SHIFT && shift <= 30 && (entry & FS_LARGE)) {
            uint64_t in_page = ((1ull << shift) - 1) & ~PAGE_MASK;
            table = (table & ~in_page) | (address & in_page);
            break;
        }
    } while (shift > PAGE_SHIFT);
    t->page = table;
    t->size = 1ull << shift;
    return vm_ram(vm, GPADDR(table), PAGE_SIZE) ? GUEST_WALK_RAM : GUEST_WALK_OUTSIDE;
}

static uint64_t needed(bool write, bool privileged)
{
    return FS_PRESENT | (write ? FS_WRITE : 0) | (privileged ? 0 : FS_USER);
}

enum guest_walk guest_walk(const struct vm *vm, gpaddr_t root, unsigned levels, iova_t address,
                           bool write, bool privileged)
{
    struct trace t;

    return walk(vm, root, levels, address.v, needed(write, privileged), &t);
}

enum guest_walk guest_walk_path(const struct vm *vm, gpaddr_t root, unsigned levels, iova_t address,
                                bool write, bool privileged, gpaddr_t out[GUEST_PATH_MAX],
                                unsigned *n)
{
    struct trace t;
    enum guest_walk found = walk(vm, root, levels, address.v, needed(write, privileged), &t);

    static_assert(GUEST_PATH_MAX == FS_LEVELS_MAX + 1);
    for (*n = 0; *n < t.n; ++*n)
        out[*n] = GPADDR(t.entry[*n].table);
    if (found == GUEST_WALK_RAM)
        out[(*n)++] = GPADDR(t.page);
    return found;
}

/* False: the guest changed one of them since it was read. */
static bool mark(struct trace *t, bool write)
{
    for (unsigned i = 0; i < t->n; i++) {
        uint64_t seen = t->entry[i].value;
        uint64_t wanted = seen | FS_ACCESSED | (write && i + 1 == t->n ? FS_DIRTY : 0);
        if (wanted != seen && !__atomic_compare_exchange_n(t->entry[i].at, &seen, wanted, false,
                                                           __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            return false;
        t->entry[i].value = wanted;
    }
    return true;
}

enum guest_walk guest_walk_mark(const struct vm *vm, gpaddr_t root, unsigned levels, iova_t address,
                                bool write, struct guest_leaf *out)
{
    struct trace t;

    for (unsigned tries = 0; tries < MARK_TRIES; tries++) {
        enum guest_walk found = walk(vm, root, levels, address.v, needed(write, false), &t);
        if (found != GUEST_WALK_RAM)
            return found;
        if (!mark(&t, write))
            continue;
        *out = (struct guest_leaf){
            .page = GPADDR(t.page),
            .size = t.size,
            .write = t.writable && (t.entry[t.n - 1].value & FS_DIRTY),
        };
        return found;
    }
    return GUEST_WALK_ABSENT;
}
