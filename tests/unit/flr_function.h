/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PCI function that can be reset (PCIe 6.6.2) and can vanish: after a reset it is as it was when
 * it was made ready, once it answers again.
 */
#ifndef TESTS_UNIT_FLR_FUNCTION_H
#define TESTS_UNIT_FLR_FUNCTION_H

#include "tests/platform/platform.h"

enum { FLR_PCIE = 0x40, FLR_MSI = 0x80, FLR_MSIX = 0xa0 }; /* where its capabilities are */

struct flr_function {
    struct platform_pci pci;
    uint8_t power_on[4096];
    unsigned resets;
    uint64_t ready_us;  /* after a reset it answers that much later: as absent, then */
    uint64_t retry_us;  /* that much longer it asks to try again */
    uint64_t reset_at;  /* time_now() */
    bool vanished;      /* all ones from here on */
    bool vanishes;      /* at its next reset */
    bool dma_under_way; /* Transactions Pending, until bus mastering has been off for a while */
    unsigned early;     /* accesses within the 100 ms after a reset */
    unsigned master_on; /* resets that found bus mastering on */
    void (*on_reset)(struct flr_function *f);
};

/* Express (with reset, if @resets), MSI (64 bits, maskable) and MSI-X, a BAR as of
 * platform_pci_endpoint(). */
void flr_function_make(struct flr_function *f, rid_t rid, uint64_t bar, uint64_t size, bool resets);
/* What `pci.config` holds now is what a reset restores, but that BARs are lost, as they are. */
void flr_function_ready(struct flr_function *f);
/* Does it answer now? Not in reset, not vanished. */
bool flr_function_answers(const struct flr_function *f);

#endif
