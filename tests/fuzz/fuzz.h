/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the fuzz targets have in common. A target is tests/fuzz/fuzz_NAME.c with fuzz_one(); its
 * corpus is tests/fuzz/corpus/NAME/, its words (if any) tests/fuzz/NAME.dict. It runs on the
 * machine of tests/platform, under sanitizers, and stops at the first property that does not hold.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The property under test. */
#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The input, taken from the front; zeros when it has ended. */
struct feed {
    const uint8_t *at;
    size_t left;
};

static inline uint64_t feed_take(struct feed *f, size_t bytes)
{
    uint64_t value = 0;
    size_t n = bytes < f->left ? bytes : f->left;

    if (n)
        memcpy(&value, f->at, n);
    f->at += n;
    f->left -= n;
    return value;
}

static inline uint8_t feed_8(struct feed *f)
{
    return (uint8_t)feed_take(f, 1);
}

static inline uint16_t feed_16(struct feed *f)
{
    return (uint16_t)feed_take(f, 2);
}

static inline uint32_t feed_32(struct feed *f)
{
    return (uint32_t)feed_take(f, 4);
}

/* One input. The machine is fresh before, and no page of the pool may be missing after. */
void fuzz_one(const uint8_t *data, size_t size);

#endif
