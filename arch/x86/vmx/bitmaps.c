/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What exits of a guest's ports and MSRs (SDM 3C 24.6.4, 24.6.9): every port, all MSRs but those
 * that pass. The bitmaps are shared by all guests.
 */
#include <string.h>

#include "arch/x86/vmx/vmx.h"
#include "hv/platform.h"

uint64_t vmx_io_bitmaps, vmx_msr_bitmap;

/* MSRs that the guest reads and writes directly: its own, in the VMCS, or of no use to the host. */
static const uint32_t msrs_passed[] = {
    0x174,      0x175,      0x176,                  /* SYSENTER_CS, ESP, EIP */
    0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, /* STAR, LSTAR, CSTAR, SFMASK */
    0xc0000100, 0xc0000101, 0xc0000102,             /* FS, GS, kernel GS base */
    0xc0000103,                                     /* TSC_AUX */
};

enum { READ = 1, WRITE = 2 };

/* A bit per MSR: reads of the low range, of the high one at 1 KiB, writes from 2 KiB on (24.6.9).
 */
static void pass_msr(uint8_t *bitmap, uint32_t msr, unsigned ways)
{
    uint32_t at = (msr >= 0xc0000000 ? 0x400 : 0) + (msr & 0x1fff) / 8;

    if (ways & READ)
        bitmap[at] &= (uint8_t)~(1u << msr % 8);
    if (ways & WRITE)
        bitmap[0x800 + at] &= (uint8_t)~(1u << msr % 8);
}

/* APIC registers of which hardware keeps the truth; for the others there is vlapic.c. */
static const struct {
    uint32_t first, last;
    unsigned ways;
} apic_passed[] = {
    { 0x808, 0x808, READ | WRITE }, /* TPR */
    { 0x80a, 0x80a, READ },         /* PPR */
    { 0x80b, 0x80b, WRITE },        /* EOI */
    { 0x810, 0x827, READ },         /* ISR, TMR, IRR */
    { 0x83f, 0x83f, WRITE },        /* self IPI */
};

enum hv_status vmx_make_bitmaps(void)
{
    void *io, *msr;
    enum hv_status err;

    if (vmx_io_bitmaps)
        return HV_OK;
    err = pages_alloc(NULL, 1, &io);
    if (err != HV_OK)
        return err;
    err = pages_alloc(NULL, 0, &msr);
    if (err != HV_OK) {
        pages_free(NULL, 1, io);
        return err;
    }
    memset(io, 0xff, 2 * PAGE_SIZE);
    memset(msr, 0xff, PAGE_SIZE);
    for (unsigned i = 0; i < ARRAY_SIZE(msrs_passed); i++)
        pass_msr(msr, msrs_passed[i], READ | WRITE);
    for (unsigned i = 0; vmx_setup.apicv && i < ARRAY_SIZE(apic_passed); i++) {
        for (uint32_t n = apic_passed[i].first; n <= apic_passed[i].last; n++)
            pass_msr(msr, n, apic_passed[i].ways);
    }
    vmx_io_bitmaps = virt_to_phys(io).v;
    vmx_msr_bitmap = virt_to_phys(msr).v;
    return HV_OK;
}
