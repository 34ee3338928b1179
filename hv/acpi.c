/* SPDX-License-Identifier: BSD-2-Clause */
/* ACPI 6.5, 5.2: root pointer, root table, MADT, MCFG, FADT. Fields are unaligned: loaded bytewise.
 */
#include "hv/acpi.h"

#include <string.h>

#include "hv/log.h"

#define HEADER 36u

static const struct bootinfo *boot_info;
static const uint8_t *root; /* RSDT or XSDT */
static size_t root_length;
static unsigned root_entry; /* bytes of a pointer in it */

static uint64_t load(const uint8_t *p, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, p, size);
    return value;
}

static bool sums_to_zero(const uint8_t *p, size_t n)
{
    uint8_t sum = 0;

    while (n--)
        sum = (uint8_t)(sum + *p++);
    return sum == 0;
}

/* Firmware's bytes at [pa, pa + size), or NULL if the memory map has neither RAM nor ACPI memory
 * there and it is not the page of the root pointer: nothing else is mapped. */
static const uint8_t *bytes_at(uint64_t pa, uint64_t size)
{
    uint64_t from = pa, end = pa + size;

    if (size == 0 || end < pa)
        return NULL;
    if (((pa ^ boot_info->rsdp) | ((end - 1) ^ boot_info->rsdp)) <= PAGE_MASK)
        return phys_to_virt(PADDR(pa));
    /* Ascending: a range may go on in the next entry. */
    for (unsigned i = 0; i < boot_info->nmemory; i++) {
        const struct boot_memory *m = &boot_info->memory[i];
        if ((m->kind != BOOT_RAM && m->kind != BOOT_ACPI) || from - m->base >= m->size)
            continue;
        from = m->base + m->size;
        if (from >= end)
            return phys_to_virt(PADDR(pa));
    }
    return NULL;
}

static const uint8_t *table_at(uint64_t pa, size_t *length)
{
    const uint8_t *t = bytes_at(pa, HEADER);

    if (!t)
        return NULL;
    *length = load(t + 4, 4);
    if (*length < HEADER || !bytes_at(pa, *length) || !sums_to_zero(t, *length))
        return NULL;
    return t;
}

enum hv_status acpi_init(const struct bootinfo *boot)
{
    boot_info = boot;
    root = NULL;
    if (boot->rsdp == 0)
        return HV_ENODEV;
    const uint8_t *rsdp = bytes_at(boot->rsdp, 20);
    if (!rsdp || memcmp(rsdp, "RSD PTR ", 8) != 0 || !sums_to_zero(rsdp, 20)) {
        log_error("acpi", "no root pointer at %#lx", (unsigned long)boot->rsdp);
        return HV_EINVAL;
    }
    uint64_t pa = load(rsdp + 16, 4);
    const char *signature = "RSDT";
    root_entry = 4;
    if (rsdp[15] >= 2) { /* revision: the longer structure, with the XSDT */
        if (!bytes_at(boot->rsdp, 36) || !sums_to_zero(rsdp, 36)) {
            log_error("acpi", "root pointer: bad extended checksum");
            return HV_EINVAL;
        }
        if (load(rsdp + 24, 8) != 0) {
            pa = load(rsdp + 24, 8);
            signature = "XSDT";
            root_entry = 8;
        }
    }
    const uint8_t *t = table_at(pa, &root_length);
    if (!t || memcmp(t, signature, 4) != 0) {
        log_error("acpi", "%s at %#lx: broken", signature, (unsigned long)pa);
        return HV_EINVAL;
    }
    root = t;
    return HV_OK;
}

const void *acpi_find(const char *signature, size_t *length)
{
    if (!root)
        return NULL;
    for (size_t at = HEADER; at + root_entry <= root_length; at += root_entry) {
        uint64_t pa = load(root + at, root_entry);
        const uint8_t *t = bytes_at(pa, HEADER);
        if (!t || memcmp(t, signature, 4) != 0)
            continue;
        t = table_at(pa, length);
        if (t)
            return t;
        log_warn("acpi", "%.4s at %#lx: bad length or checksum, left out", signature,
                 (unsigned long)pa);
    }
    return NULL;
}

/* 5.2.12: what the two kinds of CPU entry have in common. */
static enum hv_status add_cpu(struct acpi_madt *out, uint32_t apic_id, uint32_t flags)
{
    if (!(flags & 1))
        return HV_OK;
    for (unsigned i = 0; i < out->ncpus; i++) {
        if (out->apic_id[i] == apic_id)
            return HV_OK; /* as APIC and as x2APIC */
    }
    if (out->ncpus == CPUS_MAX)
        return HV_ERANGE;
    out->apic_id[out->ncpus++] = apic_id;
    return HV_OK;
}

static enum hv_status madt_entry(struct acpi_madt *out, const uint8_t *e)
{
    static const struct {
        uint8_t type, length;
    } known[] = { { 0, 8 }, { 1, 12 }, { 9, 16 } };

    for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
        if (e[0] == known[i].type && e[1] < known[i].length)
            return HV_EINVAL;
    }
    switch (e[0]) {
    case 0: /* local APIC */ return add_cpu(out, e[3], (uint32_t)load(e + 4, 4));
    case 9: /* local x2APIC */
        return add_cpu(out, (uint32_t)load(e + 4, 4), (uint32_t)load(e + 8, 4));
    case 1: /* IO APIC */
        if (out->nioapics == ACPI_IOAPICS_MAX)
            return HV_ERANGE;
        out->ioapic[out->nioapics++] = load(e + 4, 4);
        return HV_OK;
    default: return HV_OK;
    }
}

enum hv_status acpi_madt(struct acpi_madt *out)
{
    size_t length;
    const uint8_t *t = acpi_find("APIC", &length);

    *out = (struct acpi_madt){ 0 };
    if (!t)
        return HV_ENODEV;
    for (size_t at = HEADER + 8; at < length; at += t[at + 1]) {
        enum hv_status status = HV_EINVAL;
        if (at + 2 <= length && t[at + 1] >= 2 && at + t[at + 1] <= length)
            status = madt_entry(out, t + at);
        if (status != HV_OK) {
            log_error("acpi", "MADT: entry at %lu is refused (%d)", (unsigned long)at, status);
            return status;
        }
    }
    return out->ncpus ? HV_OK : HV_EINVAL;
}

enum hv_status acpi_ecam(struct acpi_ecam *out)
{
    size_t length;
    const uint8_t *t = acpi_find("MCFG", &length);

    if (!t)
        return HV_ENODEV;
    for (size_t at = HEADER + 8; at + 16 <= length; at += 16) {
        if (load(t + at + 8, 2) != 0) /* segment */
            continue;
        *out = (struct acpi_ecam){ .base = PADDR(load(t + at, 8)),
                                   .first = t[at + 10],
                                   .last = t[at + 11] };
        return out->base.v & PAGE_MASK || out->first > out->last ? HV_EINVAL : HV_OK;
    }
    return HV_ENODEV;
}

uint16_t acpi_pm_timer_port(void)
{
    size_t length;
    const uint8_t *t = acpi_find("FACP", &length);
    uint64_t port;

    if (!t || length < 80)
        return 0;
    port = load(t + 76, 4); /* PM_TMR_BLK */
    return port <= 0xffff ? (uint16_t)port : 0;
}
