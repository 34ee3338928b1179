/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtual configuration space: what passes is a table; all else is made here.
 * PCI 3.0, 3.2.2.3.2, 6. */
#include "hv/vpci.h"

#include <stdio.h>

#include "hv/claims.h"
#include "hv/flr.h"
#include "hv/log.h"
#include "hv/pci.h"
#include "hv/pci_group.h"
#include "hv/platform.h"
#include "hv/vm.h"
#include "hv/vmsi.h"

#define DATA_PORT 0xcfcu

#define WINDOW_END 0xfec00000ull /* IO APIC, local APIC and firmware have their place above */

#define BRIDGE_ID                                                                                  \
    0x00081b36u /* QEMU's generic host bridge: no system has a driver that touches it */
#define BRIDGE_CLASS 0x06000000u

#define CAP_PCIE       0x10u
#define CAP_PCIE_BYTES 0x3cu /* PCIe 7.5.3, version 2 */
#define PCIE_CONTROL   0x08u /* device control */
#define PCIE_PHANTOM   0x200u

/* What the guest can set in the command register. */
#define COMMAND_WRITABLE (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX)

/* Bits that show as in the function, by dword of the header; all others are 0 or made by view(). */
static const uint32_t pass[16] = {
    [PCI_VENDOR / 4] = ~0u,
    [PCI_COMMAND / 4] = 0x06000000, /* DEVSEL timing */
    [PCI_CLASS / 4] = ~0u,
    [0x0c / 4] = 0x007f0000, /* header type; each function is alone in its slot */
    [PCI_SUBSYSTEM / 4] = ~0u,
};

struct vbar {
    uint32_t value; /* as read: guest address, type bits */
    uint32_t mask;  /* writable bits, as sizing shows them */
    bool sizing;    /* the guest wrote ones */
};

struct vfunction {
    rid_t rid;
    uint16_t command; /* as the guest sees it */
    uint8_t pcie;     /* offset of the PCIe capability; 0: none */
    bool away;        /* being reset */
    struct vmsi msi;
    struct vbar bar[PCI_BARS];
};

struct vpci {
    uint32_t address; /* last write to 0xCF8 */
    uint64_t next;    /* guest address of the next BAR */
    unsigned nfunctions;
    struct vfunction function[BOOT_VM_PCI];
    struct flr flr[BOOT_VM_PCI]; /* of reset_all() */
};

#define VPCI_ORDER 1u
static_assert(sizeof(struct vpci) <= PAGE_SIZE << VPCI_ORDER);

/* Functions that belong to a VM: a bit for each rid. */
static _Atomic uint32_t taken[65536 / 32];

/* @return whether it was free. */
static bool own(rid_t rid)
{
    return !(atomic_fetch_or(&taken[rid / 32], 1u << (rid % 32)) & 1u << (rid % 32));
}

static void disown(rid_t rid)
{
    atomic_fetch_and(&taken[rid / 32], ~(1u << (rid % 32)));
}

/* --- Creation --------------------------------------------------------------------------------- */

static enum hv_status refuse(const struct vm *vm, const struct boot_pci *pci, enum hv_status status,
                             const char *why)
{
    log_error("vpci", "vm %s, line %u: function %02x:%02x.%x %s", vm->name, pci->line,
              pci->rid >> 8, (pci->rid >> 3) & 31, pci->rid & 7, why);
    return status;
}

/* Where a BAR is for the VM and for the machine; false: not a BAR, or not placed. */
static bool bar_place(const struct vm *vm, const struct vfunction *f, unsigned index, uint64_t *gpa,
                      struct pci_bar *out)
{
    const struct vbar *bar = &f->bar[index];
    struct pt_leaf leaf;

    *gpa = bar->value & ~0xfu;
    if (*gpa == 0 || !pt_lookup(&vm->npt, PTADDR(*gpa), &leaf))
        return false;
    *out = (struct pci_bar){ .base = leaf.out.v, .size = (uint32_t)-bar->mask };
    return true;
}

static void drop_bars(struct vm *vm, const struct vfunction *f)
{
    struct pci_bar bar;
    uint64_t gpa;

    for (unsigned i = 0; i < PCI_BARS; i++) {
        if (bar_place(vm, f, i, &gpa, &bar))
            claims_drop(PADDR(bar.base), bar.size);
    }
}

static enum hv_status place_bar(struct vm *vm, struct vfunction *f, unsigned index,
                                const struct pci_bar *bar)
{
    struct vpci *p = vm->vpci;
    uint64_t gpa = (p->next + bar->size - 1) & ~(bar->size - 1);

    if (gpa < p->next || gpa >= WINDOW_END || bar->size > WINDOW_END - gpa)
        return HV_ERANGE;
    enum hv_status status = claims_take(PADDR(bar->base), bar->size);
    if (status != HV_OK)
        return status;
    status = pt_map(&vm->npt, PTADDR(gpa), PADDR(bar->base), bar->size, PT_R | PT_W | PT_UC);
    if (status != HV_OK) {
        claims_drop(PADDR(bar->base), bar->size);
        return status;
    }
    p->next = gpa + bar->size;
    f->bar[index] = (struct vbar){
        .value = (uint32_t)gpa | (bar->wide ? 4 : 0) | (bar->prefetchable ? 8 : 0),
        .mask = (uint32_t)~(bar->size - 1),
    };
    if (bar->wide)
        f->bar[index + 1] = (struct vbar){ .mask = (uint32_t)(~(bar->size - 1) >> 32) };
    return HV_OK;
}

static enum hv_status take_bars(struct vm *vm, struct vfunction *f, const struct boot_pci *pci)
{
    struct pci_bar bar[PCI_BARS];

    pci_bars(pci->rid, bar);
    for (unsigned i = 0; i < PCI_BARS; i++) {
        if (bar[i].size == 0)
            continue;
        if (bar[i].base == 0)
            return refuse(vm, pci, HV_ENOTSUP, "has a BAR that firmware gave no address");
        if ((bar[i].base | bar[i].size) & PAGE_MASK)
            return refuse(vm, pci, HV_ENOTSUP, "has a BAR that is not whole pages");
        enum hv_status status = place_bar(vm, f, i, &bar[i]);
        if (status == HV_ERANGE)
            return refuse(vm, pci, status, "has BARs that do not fit below 4 GiB");
        if (status == HV_EEXIST)
            return refuse(vm, pci, status,
                          "has a BAR over memory or registers that are not its own");
        if (status != HV_OK)
            return refuse(vm, pci, status, "has BARs for which the table quota is too small");
    }
    return HV_OK;
}

/* Somebody else's function that the IOMMU cannot tell from @pci's. */
struct peer {
    const struct vm *vm;
    rid_t rid, group, found;
    bool any;
};

static void look_for_peer(void *ctx, rid_t rid)
{
    struct peer *p = ctx;

    if (p->any || rid == p->rid || !(taken[rid / 32] & 1u << (rid % 32)))
        return;
    for (unsigned i = 0; i < p->vm->vpci->nfunctions; i++) {
        if (p->vm->vpci->function[i].rid == rid)
            return;
    }
    p->any = pci_group(rid).id == p->group;
    p->found = rid;
}

/* What nobody owns, but firmware may have left running, would translate as the VM's function does.
 */
static void quiet_peer(void *ctx, rid_t rid)
{
    const struct pci_group *group = ctx;

    if (taken[rid / 32] & 1u << (rid % 32) || pci_config_read(rid, PCI_HEADER_TYPE, 1) & 0x7f ||
        pci_group(rid).id != group->id)
        return;
    uint32_t command = pci_config_read(rid, PCI_COMMAND, 2);
    pci_config_write(rid, PCI_COMMAND, 2, command & ~(uint32_t)PCI_COMMAND_MASTER);
}

/* A group of functions that can reach each other past the IOMMU has one owner. */
static enum hv_status check_group(const struct vm *vm, const struct boot_pci *pci)
{
    struct pci_group group = pci_group(pci->rid);
    struct peer peer = { .vm = vm, .rid = pci->rid, .group = group.id };
    char text[96];

    if (group.unchecked)
        log_warn("vpci",
                 "vm %s, line %u: function %02x:%02x.%x is behind a port without ACS source "
                 "validation: it can use the requester id of any other",
                 vm->name, pci->line, pci->rid >> 8, (pci->rid >> 3) & 31, pci->rid & 7);
    pci_each(look_for_peer, &peer);
    if (!peer.any) {
        if (group.aliased)
            pci_each(quiet_peer, &group);
        return HV_OK;
    }
    snprintf(text, sizeof(text), "cannot be kept apart from %02x:%02x.%x of another VM (no ACS)",
             peer.found >> 8, (peer.found >> 3) & 31, peer.found & 7);
    return refuse(vm, pci, HV_EEXIST, text);
}

static enum hv_status take_function(struct vm *vm, const struct boot_pci *pci)
{
    struct vfunction *f = &vm->vpci->function[vm->vpci->nfunctions];

    if (!pci_present(pci->rid))
        return refuse(vm, pci, HV_ENODEV, "is absent");
    if ((pci_config_read(pci->rid, PCI_HEADER_TYPE, 1) & 0x7f) != 0)
        return refuse(vm, pci, HV_ENOTSUP, "is a bridge");
    if (!own(pci->rid))
        return refuse(vm, pci, HV_EEXIST, "belongs to a VM already");
    enum hv_status status = check_group(vm, pci);
    if (status != HV_OK) {
        disown(pci->rid);
        return status;
    }
    pci_config_write(pci->rid, PCI_COMMAND, 2, 0);
    pci_config_write(pci->rid, PCI_ROM, 4, 0); /* it may share a decoder with BARs (6.2.5.2) */
    *f = (struct vfunction){ .rid = pci->rid };
    status = take_bars(vm, f, pci);
    if (status != HV_OK) {
        drop_bars(vm, f);
        disown(pci->rid);
        return status;
    }
    unsigned pcie = pci_capability(pci->rid, CAP_PCIE);
    if (pcie + CAP_PCIE_BYTES <= 256)
        f->pcie = (uint8_t)pcie;
    if (f->pcie) { /* it uses no function number but its own (PCIe 7.5.3.4); the guest cannot write
                      it */
        uint32_t control = pci_config_read(pci->rid, pcie + PCIE_CONTROL, 2);
        pci_config_write(pci->rid, pcie + PCIE_CONTROL, 2, control & ~PCIE_PHANTOM);
    }
    vmsi_create(pci->rid, &f->msi);
    vm->vpci->nfunctions++;
    pci_config_write(pci->rid, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_NO_INTX);
    return HV_OK;
}

static void release(struct vm *vm)
{
    for (unsigned i = 0; i < vm->vpci->nfunctions; i++) {
        rid_t rid = vm->vpci->function[i].rid;
        pci_config_write(rid, PCI_COMMAND, 2, 0);
        vmsi_destroy(rid, &vm->vpci->function[i].msi);
        drop_bars(vm, &vm->vpci->function[i]);
        disown(rid);
    }
    pages_free(NULL, VPCI_ORDER, vm->vpci);
    vm->vpci = NULL;
}

/* Resets at both ends of a VM: nothing that one owner left in a function meets the next, or the
 * firmware. All at once: begun one by one, waited for together. */
static enum hv_status reset_all(struct vm *vm, const struct boot_pci *config)
{
    struct vpci *p = vm->vpci;
    enum hv_status result = HV_OK;
    bool any = false;

    for (unsigned i = 0; i < p->nfunctions; i++)
        any |= flr_begin(p->function[i].rid, &p->flr[i]) == HV_OK;
    if (any)
        cpu_wait_us(FLR_WAIT_US);
    for (unsigned i = 0; i < p->nfunctions; i++) {
        enum hv_status status = flr_end(&p->flr[i]);
        if (status == HV_OK)
            continue;
        struct boot_pci pci = { .rid = p->function[i].rid, .line = config ? config[i].line : 0 };
        result = refuse(vm, &pci, status, "does not come back from its reset");
    }
    return result;
}

enum hv_status vpci_create(struct vm *vm, const struct boot_vm *config)
{
    void *page;
    enum hv_status status = pages_alloc(NULL, VPCI_ORDER, &page);

    if (status != HV_OK)
        return status;
    vm->vpci = page;
    vm->vpci->next = VM_RAM_LOW_END;
    for (unsigned i = 0; i < config->npci && status == HV_OK; i++)
        status = take_function(vm, &config->pci[i]);
    if (status == HV_OK)
        status = reset_all(vm, config->pci);
    if (status != HV_OK)
        release(vm);
    return status;
}

void vpci_destroy(struct vm *vm)
{
    if (!vm->vpci)
        return;
    (void)reset_all(vm, NULL); /* said; they master and decode nothing from here on */
    release(vm);
}

static void set_away(struct vm *vm, unsigned index, bool away)
{
    lock_take(&vm->lock);
    vm->vpci->function[index].away = away;
    lock_drop(&vm->lock);
}

enum hv_status vpci_reset(struct vm *vm, unsigned index)
{
    struct flr flr;

    set_away(vm, index, true);
    enum hv_status status = flr_begin(vm->vpci->function[index].rid, &flr);
    if (status == HV_OK) {
        cpu_wait_us(FLR_WAIT_US);
        status = flr_end(&flr);
    }
    set_away(vm, index, false);
    return status;
}

/* --- Access ----------------------------------------------------------------------------------- */

static struct vbar *bar_at(struct vfunction *f, unsigned reg)
{
    unsigned index = (reg - PCI_BAR0) / 4;

    return reg >= PCI_BAR0 && index < PCI_BARS ? &f->bar[index] : NULL;
}

/* The capabilities that show, in the order of their list: the first one behind @after (0: of all).
 */
static uint8_t capability(const struct vfunction *f, unsigned after)
{
    const uint8_t all[] = { 0, f->pcie, f->msi.msi, f->msi.msix };
    unsigned i = 0;

    while (i < ARRAY_SIZE(all) && all[i] != after)
        i++;
    for (i++; i < ARRAY_SIZE(all); i++) {
        if (all[i])
            return all[i];
    }
    return 0;
}

static uint32_t view_capability(const struct vfunction *f, unsigned reg)
{
    uint32_t value = 0;
    bool head = reg == f->pcie || reg == f->msi.msi || reg == f->msi.msix;

    /* MSI first: of version 1 the PCIe capability is shorter, and they may lie behind it. */
    if (!vmsi_read(f->rid, &f->msi, reg, &value)) {
        if (!f->pcie || reg - f->pcie >= CAP_PCIE_BYTES)
            return 0;
        value = pci_config_read(f->rid, reg, 4) & (head ? 0xffff00ff : ~0u);
    }
    return head ? value | (uint32_t)capability(f, reg) << 8 : value;
}

static uint32_t view(struct vfunction *f, unsigned reg)
{
    const struct vbar *bar = bar_at(f, reg);

    if (reg >= 0x40)
        return view_capability(f, reg);
    if (bar)
        return bar->sizing ? bar->mask | (bar->value & 0xf) : bar->value;
    if (reg == PCI_CAPABILITIES)
        return capability(f, 0);
    uint32_t value = pass[reg / 4] ? pci_config_read(f->rid, reg, 4) & pass[reg / 4] : 0;
    if (reg == PCI_COMMAND)
        value |= f->command | (capability(f, 0) ? 1u << 20 : 0);
    return value;
}

static uint32_t view_bridge(unsigned reg)
{
    return reg == PCI_VENDOR ? BRIDGE_ID : reg == PCI_CLASS ? BRIDGE_CLASS : 0;
}

static void set_command(struct vfunction *f, uint32_t value)
{
    f->command = value & COMMAND_WRITABLE;
    pci_config_write(f->rid, PCI_COMMAND, 2,
                     PCI_COMMAND_MEMORY | PCI_COMMAND_NO_INTX | (value & PCI_COMMAND_MASTER));
}

static void change(struct vm *vm, struct vfunction *f, unsigned reg, uint32_t value)
{
    struct vbar *bar = bar_at(f, reg);

    if (bar)
        bar->sizing = bar->mask && (value & bar->mask) == bar->mask && value != bar->value;
    else if (reg == PCI_COMMAND)
        set_command(f, value);
    else
        vmsi_write(vm, (unsigned)(f - vm->vpci->function), &f->msi, f->rid, reg, value);
}

/* The slot that the address register selects; NULL: none, or (*bridge) slot 0. */
static struct vfunction *selected(struct vpci *p, bool *bridge)
{
    unsigned slot = (p->address >> 11) & 31;

    *bridge = false;
    if (!(p->address & 0x80000000) || p->address & 0x00ff0700) /* enabled; bus 0, function 0 */
        return NULL;
    *bridge = slot == 0;
    if (!slot || slot > p->nfunctions || p->function[slot - 1].away)
        return NULL;
    return &p->function[slot - 1];
}

static uint32_t data_read(struct vpci *p)
{
    bool bridge;
    struct vfunction *f = selected(p, &bridge);
    unsigned reg = p->address & 0xfc;

    return f ? view(f, reg) : bridge ? view_bridge(reg) : ~0u;
}

uint32_t vpci_io_read(struct vm *vm, uint16_t port, unsigned size)
{
    unsigned at = port & 3;
    uint32_t ones = size == 4 ? ~0u : (1u << (8 * size)) - 1, value = ~0u;

    if (at + size > 4)
        return ones;
    lock_take(&vm->lock);
    if (port >= DATA_PORT)
        value = data_read(vm->vpci) >> (8 * at);
    else if (size == 4)
        value = vm->vpci->address;
    lock_drop(&vm->lock);
    return value & ones;
}

void vpci_io_write(struct vm *vm, uint16_t port, unsigned size, uint32_t value)
{
    struct vpci *p = vm->vpci;
    unsigned at = port & 3, reg;
    uint32_t ones = size == 4 ? ~0u : (1u << (8 * size)) - 1;
    bool bridge;

    if (at + size > 4)
        return;
    lock_take(&vm->lock);
    struct vfunction *f = selected(p, &bridge);
    reg = p->address & 0xfc;
    if (port < DATA_PORT) {
        if (size == 4)
            p->address = value & 0x80fffffc;
    } else if (f) {
        uint32_t keep = view(f, reg) & ~(ones << (8 * at));
        change(vm, f, reg, keep | (value & ones) << (8 * at));
    }
    lock_drop(&vm->lock);
}
