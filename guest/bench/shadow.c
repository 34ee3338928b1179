/* SPDX-License-Identifier: BSD-2-Clause */
/* On a unit that does not nest: what a bind costs there, and a page of the shadow. */
#include "guest/bench/bench.h"
#include "guest/lib/cpu.h"
#include "guest/lib/runtime.h"

#define BASE (BENCH_VA + (64ull << 20))

/* Pages that the guest has are told of, each by a command; then the shadow forgets them. */
void bench_shadow(void)
{
    uint64_t best = ~0ull, own = clock_cost();

    for (unsigned i = 0; i < COMMANDS; i++)
        space_map(&space, BASE + i * PAGE, (uint64_t)pages_new(1), true);
    for (unsigned round = 0; round < 4; round++) {
        uint32_t from = commands.header->producer;
        uint64_t done = 0, begin, took;

        for (unsigned i = 0; i < COMMANDS; i++) {
            struct hc_invalidate args = {
                .size = sizeof(args),
                .kind = HC_INVALIDATE_MAPPED,
                .pasid = pasid,
                .address = BASE + i * PAGE,
                .bytes = PAGE,
            };
            if (!command_ring_put(&commands, HC_INVALIDATE, &args, sizeof(args)))
                fail("ring full");
        }
        begin = rdtsc();
        must(sluice_call(HC_DOORBELL, 0, 0, 0, &done), "doorbell");
        took = rdtsc() - begin - own;
        check_statuses(from, COMMANDS);
        best = took < best ? took : best;
        must(sluice_invalidate_range(pasid, BASE, COMMANDS * PAGE, true), "invalidate");
    }
    report("shadow_fill", (best + COMMANDS - 1) / COMMANDS);
}
