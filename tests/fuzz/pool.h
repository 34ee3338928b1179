/* SPDX-License-Identifier: BSD-2-Clause */
/* The pool of pages of tests/platform, for targets with a driver that is started once for each
 * input. */
#ifndef TESTS_FUZZ_POOL_H
#define TESTS_FUZZ_POOL_H

/* All pages are free again; nobody may use one. */
void pool_again(void);

#endif
