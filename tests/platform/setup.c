/* SPDX-License-Identifier: BSD-2-Clause */
/* Set-up and the check after each test. */
#include "hv/pages.h"
#include "tests/platform/machine.h"

static uint64_t pages_before;

int platform_setup(void **state)
{
    static bool made;

    if (!made)
        memory_setup();
    made = true;
    return platform_fresh(state);
}

int platform_fresh(void **state)
{
    (void)state;
    memory_fresh();
    devices_fresh();
    cpus_fresh();
    log_fresh();
    locks_fresh();
    pages_fail_after(-1);
    pages_before = pages_used();
    return 0;
}

int platform_check(void **state)
{
    (void)state;
    pages_fail_after(-1);
    if (pages_used() == pages_before)
        return 0;
    print_error("pages leaked: %lld\n", (long long)(pages_used() - pages_before));
    return -1;
}
