/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory by mmap. See guest_memory.h.
 */
#include "tests/model/server/guest_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool overlaps(const struct guest_range *r, uint64_t addr, uint64_t size)
{
    return r->addr < addr + size && addr < r->addr + r->size;
}

int guest_memory_map(struct guest_memory *m, uint64_t addr, uint64_t size, int fd, uint64_t offset,
                     bool writable)
{
    struct guest_range r = { .addr = addr, .size = size, .writable = writable };

    if (size == 0 || addr + size < addr)
        return EINVAL;
    for (unsigned i = 0; i < m->count; i++)
        if (overlaps(&m->ranges[i], addr, size))
            return EEXIST;
    if (m->count == GUEST_MEMORY_RANGES)
        return ENOSPC;
    if (fd >= 0) {
        uint64_t lead = offset % (uint64_t)sysconf(_SC_PAGESIZE);
        int prot = PROT_READ | (writable ? PROT_WRITE : 0);

        r.mapped = size + lead;
        r.mapping = mmap(NULL, r.mapped, prot, MAP_SHARED, fd, (off_t)(offset - lead));
        if (r.mapping == MAP_FAILED)
            return errno;
        r.bytes = (uint8_t *)r.mapping + lead;
    }
    m->ranges[m->count++] = r;
    return 0;
}

static void drop(struct guest_memory *m, unsigned index)
{
    struct guest_range *r = &m->ranges[index];

    if (r->mapping)
        munmap(r->mapping, r->mapped);
    *r = m->ranges[--m->count];
    m->last = 0;
}

bool guest_memory_unmap(struct guest_memory *m, uint64_t addr, uint64_t size)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->ranges[i].addr == addr && m->ranges[i].size == size) {
            drop(m, i);
            return true;
        }
    return false;
}

void guest_memory_unmap_all(struct guest_memory *m)
{
    while (m->count > 0)
        drop(m, m->count - 1);
}

/* Where addr is, and how many of `len` bytes follow it there. NULL: nowhere. */
static uint8_t *find(struct guest_memory *m, uint64_t addr, bool write, size_t *len)
{
    for (unsigned n = 0; n < m->count; n++) {
        unsigned i = (m->last + n) % m->count;
        struct guest_range *r = &m->ranges[i];

        if (addr - r->addr >= r->size)
            continue;
        if (!r->bytes || (write && !r->writable))
            return NULL;
        if (r->size - (addr - r->addr) < *len)
            *len = (size_t)(r->size - (addr - r->addr));
        m->last = i;
        return r->bytes + (addr - r->addr);
    }
    return NULL;
}

/* Words of 8, 4 or 1 bytes, the largest that position and length allow; never torn. */
static void copy_out(uint8_t *dst, const uint8_t *src, size_t len)
{
    while (len > 0) {
        if ((uintptr_t)src % 8 == 0 && len >= 8) {
            uint64_t word = __atomic_load_n((const uint64_t *)(const void *)src, __ATOMIC_ACQUIRE);

            memcpy(dst, &word, 8);
            src += 8, dst += 8, len -= 8;
        } else if ((uintptr_t)src % 4 == 0 && len >= 4) {
            uint32_t word = __atomic_load_n((const uint32_t *)(const void *)src, __ATOMIC_ACQUIRE);

            memcpy(dst, &word, 4);
            src += 4, dst += 4, len -= 4;
        } else {
            *dst++ = __atomic_load_n(src++, __ATOMIC_ACQUIRE);
            len--;
        }
    }
}

static void copy_in(uint8_t *dst, const uint8_t *src, size_t len)
{
    while (len > 0) {
        if ((uintptr_t)dst % 8 == 0 && len >= 8) {
            uint64_t word;

            memcpy(&word, src, 8);
            __atomic_store_n((uint64_t *)(void *)dst, word, __ATOMIC_RELEASE);
            src += 8, dst += 8, len -= 8;
        } else if ((uintptr_t)dst % 4 == 0 && len >= 4) {
            uint32_t word;

            memcpy(&word, src, 4);
            __atomic_store_n((uint32_t *)(void *)dst, word, __ATOMIC_RELEASE);
            src += 4, dst += 4, len -= 4;
        } else {
            __atomic_store_n(dst++, *src++, __ATOMIC_RELEASE);
            len--;
        }
    }
}

bool guest_memory_read(struct guest_memory *m, uint64_t addr, void *buf, size_t len)
{
    uint8_t *to = buf;

    while (len > 0) {
        size_t part = len;
        const uint8_t *from = find(m, addr, false, &part);

        if (!from)
            return false;
        copy_out(to, from, part);
        to += part, addr += part, len -= part;
    }
    return true;
}

bool guest_memory_write(struct guest_memory *m, uint64_t addr, const void *buf, size_t len)
{
    const uint8_t *from = buf;

    while (len > 0) {
        size_t part = len;
        uint8_t *to = find(m, addr, true, &part);

        if (!to)
            return false;
        copy_in(to, from, part);
        from += part, addr += part, len -= part;
    }
    return true;
}

bool guest_memory_cas64(struct guest_memory *m, uint64_t addr, uint64_t *expected, uint64_t desired,
                        bool *swapped)
{
    size_t len = 8;
    uint8_t *at = find(m, addr, true, &len);

    if (!at || len < 8 || (uintptr_t)at % 8 != 0)
        return false;
    *swapped = __atomic_compare_exchange_n((uint64_t *)(void *)at, expected, desired, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return true;
}
