/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a proof is made of. A proof is a function without arguments in tests/proofs/NAME.c, which
 * includes the shipping source; CBMC runs it for all values at once. Before each stand, for
 * tests/proofs/prove:
 *
 *     proof: FUNCTION [options of cbmc]
 *     broken: FILE SED-EXPRESSION       a change of the source with which the proof must fail
 */
#ifndef TESTS_PROOFS_PROOF_H
#define TESTS_PROOFS_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Any value of the type: what CBMC takes functions of these names for. */
bool nondet_bool(void);
uint8_t nondet_u8(void);
uint32_t nondet_u32(void);
uint64_t nondet_u64(void);
#define any_bool nondet_bool
#define any_u8   nondet_u8
#define any_u32  nondet_u32
#define any_u64  nondet_u64

#define assume(condition) __CPROVER_assume(condition)
#define prove(condition)  __CPROVER_assert(condition, #condition)

/* Any number in [low, high]. */
static inline unsigned any_between(unsigned low, unsigned high)
{
    unsigned n = any_u32();
    assume(n >= low && n <= high);
    return n;
}

#endif
