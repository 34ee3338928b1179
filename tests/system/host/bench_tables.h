/* SPDX-License-Identifier: BSD-2-Clause */
/* What the page tables cost inside the image, without calls, mappings' records or invalidation. */
#ifndef HOST_BENCH_TABLES_H
#define HOST_BENCH_TABLES_H

/* Prints "[host] @bench NAME VALUE" lines: time stamps, which are instructions under -icount
 * shift=0. */
void bench_tables(void);

#endif
