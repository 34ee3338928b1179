/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device of QEMU's as a source of DMA: how to make it read a page of memory, and write one.
 * Completion is polled. What the tests do with it is in main.c.
 */
#ifndef GUEST_UNITS_SOURCE_H
#define GUEST_UNITS_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

struct source {
    const char *name;
    uint32_t id; /* device << 16 | vendor */
    /* Reset, ready for work; its own queues, if any, are in memory that DMA can reach. */
    bool (*open)(uint32_t rid);
    /* The device reads the page at @address and keeps it; NULL: it cannot. false: it saw an error,
     * or did not finish. */
    bool (*take)(uint64_t address);
    /* The device writes what it took last, or something of its own, to the page at @address. */
    bool (*give)(uint64_t address);
    /* Pages of ours that it uses besides, the @n-th: queues. Without them it cannot even be told
     * what to do. NULL: no more; or there are none at all. */
    void *(*page)(unsigned n);
    enum message { NO_MESSAGES, MSI, MSIX, STORE } messages;
    /* Do what it raises one interrupt for: MSI, entry @entry of its MSI-X table, or what it was
     * told to store, which can be masked, too. */
    bool (*raise)(void);
    void (*store)(uint32_t address, uint32_t data, bool masked);
    /* One word of DMA, as an interrupt message is one. */
    void (*write_word)(uint64_t address, uint32_t value);
    unsigned entry, repeats; /* it may come so often again */
    bool past; /* what it reads back takes a way past the unit, and is only right for IDENTITY */
};

extern const struct source edu, testdev, nvme, rng, e1000e, accelerator;

/* Wait for @done, @us or, on a busy machine, some times that. */
bool wait_for(bool (*done)(void), uint64_t us);

#endif
