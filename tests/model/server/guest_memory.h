/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest physical memory as the client of one vfio-user connection has announced it: ranges mapped
 * from its file descriptors. Several processors of the guest use the same bytes at the same time,
 * so aligned words are read and written whole.
 */
#ifndef TESTS_MODEL_SERVER_GUEST_MEMORY_H
#define TESTS_MODEL_SERVER_GUEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GUEST_MEMORY_RANGES = 256 };

struct guest_memory {
    unsigned count, last; /* last: where the last lookup hit */
    struct guest_range {
        uint64_t addr, size;
        uint8_t *bytes; /* NULL: announced without a descriptor (ROM): nothing to reach */
        void *mapping;  /* for munmap */
        size_t mapped;
        bool writable;
    } ranges[GUEST_MEMORY_RANGES];
};

/* fd -1: none. The descriptor may be closed afterwards. 0, or an errno value. */
int guest_memory_map(struct guest_memory *m, uint64_t addr, uint64_t size, int fd, uint64_t offset,
                     bool writable);
/* Drops exactly that range. False: there was none. */
bool guest_memory_unmap(struct guest_memory *m, uint64_t addr, uint64_t size);
void guest_memory_unmap_all(struct guest_memory *m);

/* False: not all of it is memory (or, for a write, writable); a first part may have been moved. */
bool guest_memory_read(struct guest_memory *m, uint64_t addr, void *buf, size_t len);
bool guest_memory_write(struct guest_memory *m, uint64_t addr, const void *buf, size_t len);
bool guest_memory_cas64(struct guest_memory *m, uint64_t addr, uint64_t *expected, uint64_t desired,
                        bool *swapped);

#endif
