/* SPDX-License-Identifier: BSD-2-Clause */
/* The pool of pages, with a way to start again: the driver keeps for good what it takes at start.
 */
#include "tests/fuzz/pool.h"

#include "hv/pages.c" // NOLINT: in place of it
#include "tests/platform/platform.h"

void pool_again(void)
{
    memset(free_list, 0, sizeof(free_list));
    nranges = 0;
    total = used = 0;
    pages_add(PADDR(PLATFORM_RAM_BASE), PLATFORM_POOL_SIZE);
}
