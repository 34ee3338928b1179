/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks that check: ranks rise, nobody drops what he does not hold. In place of hv/lock.c. */
#include "hv/lock.h"

#include <sched.h>

#include "tests/platform/machine.h"

#define HELD_MAX 8u

static _Thread_local const struct lock *held[HELD_MAX];
static _Thread_local unsigned nheld;

void locks_fresh(void)
{
    while (nheld)
        lock_drop((struct lock *)(uintptr_t)held[nheld - 1]);
}

void locks_none(void)
{
    if (nheld)
        panic("lock of rank %u held while waiting", held[0]->rank);
}

void lock_take(struct lock *l)
{
    for (unsigned i = 0; i < nheld; i++) {
        if (held[i] == l)
            panic("lock of rank %u taken twice", l->rank);
        if (l->rank != RANK_NONE && held[i]->rank != RANK_NONE && held[i]->rank >= l->rank)
            panic("lock of rank %u taken while holding rank %u", l->rank, held[i]->rank);
    }
    if (nheld == HELD_MAX)
        panic("more than %u locks held", HELD_MAX);
    uint16_t ticket = atomic_fetch_add(&l->next, 1);
    while (atomic_load(&l->owner) != ticket)
        sched_yield();
    held[nheld++] = l;
}

/* Whoever only tries waits for nobody: the order does not matter. */
bool lock_try(struct lock *l)
{
    uint16_t ticket = atomic_load(&l->owner);

    if (nheld == HELD_MAX)
        panic("more than %u locks held", HELD_MAX);
    if (!atomic_compare_exchange_strong(&l->next, &ticket, (uint16_t)(ticket + 1)))
        return false;
    held[nheld++] = l;
    return true;
}

void lock_drop(struct lock *l)
{
    for (unsigned i = nheld; i--;) {
        if (held[i] != l)
            continue;
        held[i] = held[--nheld];
        atomic_fetch_add(&l->owner, 1);
        return;
    }
    panic("lock of rank %u dropped without holding it", l->rank);
}
