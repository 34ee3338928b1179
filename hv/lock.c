/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ticket lock: a taker draws a number and waits until it is called.
 */
#include "hv/lock.h"

#include "hv/log.h"
#include "hv/platform.h"
#include "hv/types.h"

#define DEADLOCK_US    10000000ull
#define SPINS_PER_LOOK 4096u /* turns of waiting between two looks at the clock */

/* How long the locks of a VM are held is up to its guest and its devices, and who waits for them
 * waits for its sake: no panic. */
SELDOM static void wait_for(struct lock *l, uint16_t ticket)
{
    uint64_t start = time_now();
    uint16_t before = ticket, owner;

    for (unsigned spins = 1;
         (owner = atomic_load_explicit(&l->owner, memory_order_acquire)) != ticket; spins++) {
        cpu_relax();
        if (spins % SPINS_PER_LOOK)
            continue;
        if (owner != before || l->rank == RANK_VM || l->rank == RANK_FILL) {
            before = owner; /* the queue moves */
            start = time_now();
        } else if (time_now() - start > DEADLOCK_US * time_ticks_per_us()) {
            panic("lock %p: held for ten seconds", (void *)l);
        }
    }
}

void lock_take(struct lock *l)
{
    uint16_t ticket = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);

    if (atomic_load_explicit(&l->owner, memory_order_acquire) != ticket)
        wait_for(l, ticket);
}

bool lock_try(struct lock *l)
{
    uint16_t owner = atomic_load_explicit(&l->owner, memory_order_relaxed);

    /* Free: the next number to draw is the one being served. */
    return atomic_compare_exchange_strong_explicit(&l->next, &owner, (uint16_t)(owner + 1),
                                                   memory_order_acquire, memory_order_relaxed);
}

void lock_drop(struct lock *l)
{
    uint16_t owner = atomic_load_explicit(&l->owner, memory_order_relaxed);

    atomic_store_explicit(&l->owner, (uint16_t)(owner + 1), memory_order_release);
}
