/* SPDX-License-Identifier: BSD-2-Clause */
/* Non-recoverable faults. */
#include "drivers/iommu/vtd/fault.h"

#include "drivers/iommu/vtd/context.h"
#include "drivers/iommu/vtd/device.h"
#include "drivers/iommu/vtd/intremap.h"
#include "drivers/iommu/vtd/unit.h"

static const struct reason {
    enum iommu_fault_class class;
    const char *text;
} reasons[256] = {
    [0x01] = { IOMMU_FAULT_BLOCKED, "root entry not present" },
    [0x02] = { IOMMU_FAULT_BLOCKED, "context entry not present" },
    [0x03] = { IOMMU_FAULT_OTHER, "context entry: wrong value" },
    [0x04] = { IOMMU_FAULT_ADDRESS, "address beyond the second stage" },
    [0x05] = { IOMMU_FAULT_SECOND_STAGE, "second stage: no write permission" },
    [0x06] = { IOMMU_FAULT_SECOND_STAGE, "second stage: no read permission" },
    [0x07] = { IOMMU_FAULT_SECOND_STAGE, "second-stage entry not accessible" },
    [0x08] = { IOMMU_FAULT_OTHER, "root table not accessible" },
    [0x09] = { IOMMU_FAULT_OTHER, "context table not accessible" },
    [0x0a] = { IOMMU_FAULT_OTHER, "root entry: reserved field" },
    [0x0b] = { IOMMU_FAULT_OTHER, "context entry: reserved field" },
    [0x0c] = { IOMMU_FAULT_SECOND_STAGE, "second-stage entry: reserved field" },
    [0x0d] = { IOMMU_FAULT_BLOCKED, "device TLB not allowed" },
    [0x0e] = { IOMMU_FAULT_ADDRESS, "address in the interrupt range" },
    [0x20] = { IOMMU_FAULT_INTERRUPT, "interrupt request: reserved field" },
    [0x21] = { IOMMU_FAULT_INTERRUPT, "interrupt index beyond the table" },
    [0x22] = { IOMMU_FAULT_INTERRUPT, "interrupt entry not present" },
    [0x23] = { IOMMU_FAULT_INTERRUPT, "interrupt table not accessible" },
    [0x24] = { IOMMU_FAULT_INTERRUPT, "interrupt entry: reserved field" },
    [0x25] = { IOMMU_FAULT_INTERRUPT, "interrupt in compatibility format" },
    [0x26] = { IOMMU_FAULT_INTERRUPT, "interrupt of another source" },
    [0x27] = { IOMMU_FAULT_INTERRUPT, "posted descriptor not accessible" },
    [0x28] = { IOMMU_FAULT_INTERRUPT, "posted descriptor: reserved field" },
    [0x29] = { IOMMU_FAULT_INTERRUPT, "not a valid interrupt" },
    [0x2a] = { IOMMU_FAULT_INTERRUPT, "interrupt mode not enabled" },
    [0x2b] = { IOMMU_FAULT_INTERRUPT, "interrupt remapping is off" },
    [0x30] = { IOMMU_FAULT_OTHER, "root table mode" },
    [0x31] = { IOMMU_FAULT_OTHER, "PASID in legacy mode" },
    [0x32] = { IOMMU_FAULT_OTHER, "page request in legacy mode" },
    [0x33] = { IOMMU_FAULT_BLOCKED, "all DMA is aborted" },
    [0x34] = { IOMMU_FAULT_OTHER, "execute requested" },
    [0x38] = { IOMMU_FAULT_OTHER, "root table not accessible" },
    [0x39] = { IOMMU_FAULT_BLOCKED, "root entry not present" },
    [0x3a] = { IOMMU_FAULT_OTHER, "root entry: reserved field" },
    [0x40] = { IOMMU_FAULT_OTHER, "context table not accessible" },
    [0x41] = { IOMMU_FAULT_BLOCKED, "context entry not present" },
    [0x42] = { IOMMU_FAULT_OTHER, "context entry: reserved field" },
    [0x43] = { IOMMU_FAULT_OTHER, "context entry: inconsistent" },
    [0x44] = { IOMMU_FAULT_BLOCKED, "device TLB not allowed" },
    [0x45] = { IOMMU_FAULT_BLOCKED, "PASID not allowed" },
    [0x46] = { IOMMU_FAULT_BLOCKED, "PASID beyond the directory" },
    [0x47] = { IOMMU_FAULT_BLOCKED, "page requests not allowed" },
    [0x48] = { IOMMU_FAULT_BLOCKED, "PASID reserved for requests without" },
    [0x49] = { IOMMU_FAULT_BLOCKED, "translated request with PASID not allowed" },
    [0x50] = { IOMMU_FAULT_OTHER, "PASID directory not accessible" },
    [0x51] = { IOMMU_FAULT_BLOCKED, "PASID directory entry not present" },
    [0x52] = { IOMMU_FAULT_OTHER, "PASID directory entry: reserved field" },
    [0x58] = { IOMMU_FAULT_OTHER, "PASID table not accessible" },
    [0x59] = { IOMMU_FAULT_BLOCKED, "PASID entry not present" },
    [0x5a] = { IOMMU_FAULT_OTHER, "PASID entry: reserved field" },
    [0x5b] = { IOMMU_FAULT_OTHER, "PASID entry: wrong value" },
    [0x5c] = { IOMMU_FAULT_BLOCKED, "execute not allowed" },
    [0x5d] = { IOMMU_FAULT_BLOCKED, "privileged request not allowed" },
    [0x60] = { IOMMU_FAULT_ADDRESS, "address beyond the permission table" },
    [0x70] = { IOMMU_FAULT_FIRST_STAGE, "first-stage entry not accessible" },
    [0x71] = { IOMMU_FAULT_FIRST_STAGE, "first stage: not present" },
    [0x72] = { IOMMU_FAULT_FIRST_STAGE, "first stage: reserved field" },
    [0x73] = { IOMMU_FAULT_FIRST_STAGE, "first-stage root not accessible" },
    [0x74] = { IOMMU_FAULT_FIRST_STAGE, "first-stage entry: address beyond guest memory" },
    [0x75] = { IOMMU_FAULT_SECOND_STAGE, "second stage denies the first-stage root" },
    [0x76] = { IOMMU_FAULT_SECOND_STAGE, "second stage denies a first-stage table" },
    [0x77] = { IOMMU_FAULT_SECOND_STAGE, "second stage denies a first-stage flag update" },
    [0x78] = { IOMMU_FAULT_SECOND_STAGE, "second-stage entry not accessible" },
    [0x79] = { IOMMU_FAULT_SECOND_STAGE, "second stage: not present" },
    [0x7a] = { IOMMU_FAULT_SECOND_STAGE, "second stage: reserved field" },
    [0x7b] = { IOMMU_FAULT_SECOND_STAGE, "second-stage root not accessible" },
    [0x7c] = { IOMMU_FAULT_SECOND_STAGE, "second stage: flag update not snooped" },
    [0x7d] = { IOMMU_FAULT_SECOND_STAGE, "second stage: flag update failed" },
    [0x80] = { IOMMU_FAULT_ADDRESS, "address not canonical" },
    [0x81] = { IOMMU_FAULT_FIRST_STAGE, "user request to a supervisor page" },
    [0x82] = { IOMMU_FAULT_FIRST_STAGE, "no execute permission" },
    [0x83] = { IOMMU_FAULT_ADDRESS, "address beyond host memory" },
    [0x84] = { IOMMU_FAULT_ADDRESS, "address beyond the second stage" },
    [0x85] = { IOMMU_FAULT_SECOND_STAGE, "no write permission" },
    [0x86] = { IOMMU_FAULT_SECOND_STAGE, "no read permission" },
    [0x87] = { IOMMU_FAULT_ADDRESS, "address in the interrupt range" },
    [0x89] = { IOMMU_FAULT_BLOCKED, "PASID beyond the unit's width" },
    [0x90] = { IOMMU_FAULT_FIRST_STAGE, "first stage: accessed or dirty flag not set" },
    [0x91] = { IOMMU_FAULT_FIRST_STAGE, "first stage: flag update failed" },
    [0xa0] = { IOMMU_FAULT_OTHER, "permission table not accessible" },
    [0xa1] = { IOMMU_FAULT_OTHER, "permission table: reserved field" },
    [0xa2] = { IOMMU_FAULT_OTHER, "permission table root not accessible" },
    [0xa3] = { IOMMU_FAULT_BLOCKED, "permission not found" },
    [0xa4] = { IOMMU_FAULT_BLOCKED, "permission table: no write" },
    [0xa5] = { IOMMU_FAULT_BLOCKED, "permission table: no read" },
};

enum iommu_fault_class vtd_fault_class(uint8_t reason, const char **text)
{
    const struct reason *r = &reasons[reason];
    *text = r->text ? r->text : "unknown reason";
    return r->class;
}

/* Record @n: the top dword tells whether it is valid, and a 1 written to F clears it. */
static bool take(struct iommu_unit *unit, uint32_t n, struct iommu_fault *out)
{
    uint32_t at = unit->hw.fault_offset + 16 * n;
    const struct reg32 top = { at + 12 };
    if (!(reg_read32(unit->regs, top) >> 31))
        return false;
    uint64_t q0 = reg_read64(unit->regs, (struct reg64){ at });
    uint64_t q1 = reg_read64(unit->regs, (struct reg64){ at + 8 });
    reg_write32(unit->regs, top, 1u << 31);
    *out = (struct iommu_fault){
        .rid = (rid_t)q1,
        .pasid_present = q1 >> 31 & 1,
        .write = !(q1 >> 62 & 1) && !(q1 >> 28 & 1), /* T1, T2 = 0 */
        .pasid = q1 >> 31 & 1 ? q1 >> 40 & 0xfffff : PASID_RID,
        .address = IOVA(q0 & ~PAGE_MASK),
        .code = (uint8_t)(q1 >> 32),
    };
    out->class = vtd_fault_class(out->code, &out->text);
    /* Guest physical in first-stage format: no table of the guest's. */
    if (out->class == IOMMU_FAULT_FIRST_STAGE && unit->hw.mode == VTD_FIRST)
        out->class = IOMMU_FAULT_SECOND_STAGE;
    if (out->class == IOMMU_FAULT_INTERRUPT) {
        out->address = IOVA(vtd_intremap_blamed(out->code, q0 >> 48));
        out->write = true;
    }
    return true;
}

/* One more fault of @rid; the log is locked. @return whether it is one too many. */
static bool floods(struct vtd_fault_log *log, rid_t rid)
{
    struct vtd_flood *f = &log->flood[(rid ^ rid >> 8) % FLOOD_PLACES];
    uint64_t now = time_now();
    if (f->rid != rid || now - f->since > 1000000 * time_ticks_per_us())
        *f = (struct vtd_flood){ .rid = rid, .since = now };
    return ++f->count == FLOOD_FAULTS;
}

/* A device that faults without end would keep the CPU busy with reports of it: its faults are no
 * longer recorded, and are refused as ever. */
static void hide(struct iommu_unit *unit, rid_t rid)
{
    enum hv_status status = vtd_context_hide_faults(unit, rid);
    if (log_allowed(&unit->faults.hidden, 10))
        log_warn("vtd", "%s: %02x:%02x.%x: %u faults in a second: no more are recorded%s",
                 unit->name, rid >> 8, rid >> 3 & 31, rid & 7, FLOOD_FAULTS,
                 status ? ", if it can be" : "");
}

static void tell(struct iommu_unit *unit, struct iommu_fault *f)
{
    struct iommu_device *dev = NULL; /* may be gone when the lock is dropped */
    rid_t rid = f->rid;
    lock_take(&unit->queue.lock); /* the lookup: see vtd_device_remove */
    const struct vtd_device *v = vtd_unit_device(unit, f->rid);
    if (v) {
        dev = v->dev;
        rid = v->rid; /* that of the fault may be an alias */
    }
    lock_drop(&unit->queue.lock);
    if (log_allowed(&unit->faults.limit, 10))
        log_warn("vtd", "%s: %02x:%02x.%x pasid %d %s %#lx: %s (%02x)", unit->name, f->rid >> 8,
                 f->rid >> 3 & 31, f->rid & 7, f->pasid_present ? (int)f->pasid : -1,
                 f->write ? "write" : "read", (unsigned long)f->address.v, f->text, f->code);
    f->rid = rid;
    unit->events->fault(dev, f);
}

void vtd_fault_process(struct iommu_unit *unit)
{
    struct vtd_fault_log *log = &unit->faults;
    struct iommu_fault f;
    uint32_t fsts = reg_read32(unit->regs, VTD_FSTS);
    if (!(fsts & (FSTS_PPF | FSTS_PFO)))
        return;
    if (fsts & FSTS_PPF)
        log->next = fsts_fri(fsts) % unit->hw.fault_count;
    /* Twice round at most: a flood of faults does not keep us here. */
    for (uint32_t n = 0; n < 2 * unit->hw.fault_count; n++) {
        lock_take(&log->lock);
        bool valid = take(unit, log->next, &f);
        if (valid) {
            log->next = (log->next + 1) % unit->hw.fault_count;
            f.last = floods(log, f.rid);
        }
        lock_drop(&log->lock);
        if (!valid)
            break;
        if (f.last)
            hide(unit, f.rid);
        tell(unit, &f);
    }
    reg_write32(unit->regs, VTD_FSTS, FSTS_PFO);
}

void vtd_fault_clear(struct iommu_unit *unit)
{
    struct iommu_fault f;
    for (uint32_t n = 0; n < unit->hw.fault_count; n++)
        take(unit, n, &f);
    unit->faults.next = 0;
    reg_write32(unit->regs, VTD_FSTS, FSTS_PFO | FSTS_QUEUE);
}
