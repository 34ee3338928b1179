/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c tests/unit/vtd_bed.c */
/* build: tests/unit/flr_function.c tests/fuzz/pool.c */
/*
 * Two hostile VMs and their devices, on the real driver and the model of the unit. Input: steps;
 * each starts with a byte that chooses one of the rows of steps[], and takes what it needs: numbers
 * are chosen from a pool, to which what calls return is added, or made up. However it goes: the
 * model has nothing to complain about, no device reaches what is not its VM's, no page is left over
 * when the VMs end.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/pool.h"
#include "tests/unit/abi_vm.h"
#include "tests/unit/vtd_bed.h"

#define VA       0x7f0000000000ull
#define STEPS    120u
#define CANARY   0x5a5a5a5a5a5a5a5aull
#define STRANGER 0x20000ull

static struct vm *vms_here[2];
static paddr_t stranger;   /* memory of nobody */
static uint64_t pool[32];  /* numbers worth trying */
static unsigned pool_next; /* the next of the last 12 */
static uint32_t pasids[4];
static unsigned npasids;
static uint64_t drivers; /* pages that it took at start */

static void remember(uint64_t value)
{
    pool[20 + pool_next++ % 12] = value;
}

static uint64_t pick(struct feed *in)
{
    uint8_t how = feed_8(in);

    if (how < 0xc0)
        return pool[how % 32];
    if (how < 0xe0)
        return pool[how % 32] + (how & 1 ? PAGE_SIZE : 1);
    return how < 0xf0 ? feed_8(in) : how < 0xf8 ? feed_32(in) : feed_take(in, 8);
}

static uint32_t pick32(struct feed *in)
{
    return (uint32_t)pick(in);
}

/* Mostly 0, as reserved fields are to be. */
static uint32_t rarely(struct feed *in)
{
    uint8_t how = feed_8(in);

    return how < 0xe0 ? 0 : how & 7;
}

static uint32_t pasid_of(struct feed *in)
{
    return feed_8(in) & 3 && npasids ? pasids[in->left % npasids] : pick32(in);
}

static struct vm *vm_of(struct feed *in)
{
    return vms_here[feed_8(in) % 8 == 7];
}

static rid_t rid_of(struct feed *in)
{
    static const rid_t rids[] = { BED_A, BED_B, BED_C, BED_A };

    return rids[feed_8(in) & 3];
}

static uint64_t address_of(struct feed *in)
{
    uint8_t how = feed_8(in);

    return how < 0xc0 ? VA + (how & 31) * PAGE_SIZE : pick(in);
}

/* --- Calls ------------------------------------------------------------------------------------ */

union argument {
    uint32_t size;
    struct hc_attach attach;
    struct hc_sva_bind bind;
    struct hc_page_response response;
    struct hc_invalidate invalidate;
    struct hc_invalidate_array array;
    struct hc_ring_setup ring;
    struct hc_memory_on_demand memory;
    struct hc_ioas_create create;
    struct hc_ioas_map map;
    struct hc_ioas_unmap unmap;
    uint64_t words[6];
};

/* The structure for a call of the table; its number. */
static uint32_t argument(struct feed *in, union argument *a)
{
    static const uint8_t numbers[] = { HC_ATTACH,     HC_SVA_BIND,         HC_PAGE_RESPONSE,
                                       HC_INVALIDATE, HC_INVALIDATE_ARRAY, HC_EVENT_RING,
                                       HC_SVA_BIND,   HC_INVALIDATE,       HC_MEMORY_ON_DEMAND,
                                       HC_IOAS_MAP,   HC_IOAS_UNMAP,       HC_IOAS_CREATE };
    uint32_t number = numbers[feed_8(in) % sizeof(numbers)];

    memset(a, 0, sizeof(*a));
    switch (number) {
    case HC_ATTACH:
        a->attach = (struct hc_attach){
            .size = sizeof(a->attach),
            .flags = rarely(in),
            .device = feed_8(in) & 3,
            .pasid = pasid_of(in),
            .domain = feed_8(in) & 3,
        };
        if (a->attach.domain == HC_DOMAIN_NESTED || rarely(in)) {
            a->attach.levels = 4 + rarely(in);
            a->attach.root = pick(in);
        } else if (a->attach.domain == HC_DOMAIN_PAGING) {
            a->attach.root = pick(in);
        }
        break;
    case HC_MEMORY_ON_DEMAND:
        a->memory = (struct hc_memory_on_demand){
            .size = sizeof(a->memory),
            .flags = (feed_8(in) & 3) == 0,
            .gpa = feed_8(in) & 1 ? pick(in) & ~PAGE_MASK : 0x30000 + feed_8(in) * PAGE_SIZE,
            .bytes = feed_8(in) & 1 ? BED_RAM / 2 : PAGE_SIZE * (1 + feed_8(in)),
        };
        break;
    case HC_IOAS_CREATE: a->create.size = sizeof(a->create); break;
    case HC_IOAS_MAP:
        a->map = (struct hc_ioas_map){
            .size = sizeof(a->map),
            .flags = HC_IOAS_FIXED | (feed_8(in) & 0x37),
            .ioas = pick32(in),
            .iova = address_of(in) & ~PAGE_MASK,
            .gpa = 0x30000 + feed_8(in) * PAGE_SIZE,
            .bytes = PAGE_SIZE * (1 + feed_8(in)),
        };
        break;
    case HC_IOAS_UNMAP:
        a->unmap = (struct hc_ioas_unmap){
            .size = sizeof(a->unmap),
            .flags = rarely(in),
            .ioas = pick32(in),
            .iova = address_of(in) & ~PAGE_MASK,
            .bytes = PAGE_SIZE * (1 + feed_8(in)),
        };
        break;
    case HC_SVA_BIND:
        a->bind = (struct hc_sva_bind){
            .size = sizeof(a->bind),
            .flags = feed_8(in) & 1,
            .device = feed_8(in) & 1,
            .pasid = feed_8(in) & 1 ? HC_PASID_ANY : pasid_of(in),
            .levels = 4 + rarely(in),
            .reserved = rarely(in),
            .root = pick(in),
        };
        break;
    case HC_PAGE_RESPONSE:
        a->response = (struct hc_page_response){ sizeof(a->response), rarely(in), pick(in) };
        break;
    case HC_INVALIDATE:
        a->invalidate = (struct hc_invalidate){
            .size = sizeof(a->invalidate),
            .flags = feed_8(in) & 1,
            .kind = feed_8(in) & 3,
            .device = rarely(in),
            .reserved = rarely(in),
        };
        if (a->invalidate.kind != HC_INVALIDATE_DOMAIN || rarely(in))
            a->invalidate.pasid = pasid_of(in);
        if (a->invalidate.kind == HC_INVALIDATE_RANGE || rarely(in)) {
            a->invalidate.address = address_of(in);
            a->invalidate.bytes = feed_8(in) & 1 ? PAGE_SIZE * (1 + feed_8(in)) : pick(in);
        }
        break;
    case HC_INVALIDATE_ARRAY:
        a->array = (struct hc_invalidate_array){
            .size = sizeof(a->array),
            .flags = rarely(in),
            .entries = pick(in),
            .count = 1 + (feed_8(in) & 15),
            .entry_size = sizeof(struct hc_invalidate) + rarely(in),
        };
        break;
    default:
        if (feed_8(in) & 1)
            number = HC_COMMAND_RING;
        a->ring = (struct hc_ring_setup){ .size = sizeof(a->ring), .flags = rarely(in) };
        if (feed_8(in) & 7) {
            a->ring.base = number == HC_COMMAND_RING ? COMMANDS : RING_BASE;
            a->ring.entries = 16u << (feed_8(in) & 7);
            a->ring.vector = number == HC_COMMAND_RING ? rarely(in) : 0x40;
            a->ring.vcpu = rarely(in);
        }
        break;
    }
    if (feed_8(in) >= 0xf0)
        ((uint32_t *)a)[feed_8(in) % (sizeof(*a) / 4)] = pick32(in);
    return number;
}

static void keep_results(uint32_t number, enum hv_status status, uint64_t value)
{
    must(status <= 0 && status >= HV_EREQUIRED);
    if (status == HV_OK && number == HC_IOAS_CREATE)
        remember(value);
    if (status != HV_OK || number != HC_SVA_BIND)
        return;
    remember(value & 0xffffffff);
    remember(value >> 32);
    pasids[npasids++ % 4] = (uint32_t)(value >> 32);
    npasids = npasids > 4 ? 4 : npasids;
}

static void by_structure(struct feed *in)
{
    struct vm *vm = vm_of(in);
    union argument a;
    uint32_t number = argument(in, &a);
    uint64_t value = 0;

    memcpy(ram(vm, SCRATCH), &a, sizeof(a));
    keep_results(number, call(vm, number, SCRATCH, 0, 0, &value), value);
}

static void by_registers(struct feed *in)
{
    static const uint8_t numbers[] = { HC_SVA_UNBIND,   HC_IOPF_ENABLE, HC_IOPF_ENABLE,
                                       HC_IOPF_DISABLE, HC_DEVICE_INFO, HC_VM_INFO,
                                       HC_STATS,        HC_DOORBELL };
    struct vm *vm = vm_of(in);
    uint8_t which = feed_8(in);
    uint64_t number = which < 0xe0 ? numbers[which & 7] : pick(in), value = 0, a0, a1;

    if (number == HC_SHUTDOWN)
        return;
    a0 = feed_8(in) & 1 ? feed_8(in) & 3 : pick(in);
    uint8_t categories = feed_8(in) & 3;
    a1 = categories ? categories : pick(in);
    keep_results(0, call(vm, number, a0, a1, pick(in), &value), value);
}

static void by_ring(struct feed *in)
{
    struct vm *vm = vm_of(in);
    struct hc_ring *ring = ram(vm, COMMANDS);
    struct hc_command *slots = ram(vm, COMMANDS + HC_RING_ENTRIES);
    uint32_t entries = vm->rings->command.entries;
    unsigned n = 1 + (feed_8(in) & 7);
    uint64_t done;

    for (unsigned i = 0; entries && i < n; i++) {
        struct hc_command *slot = &slots[ring->producer++ & (entries - 1)];
        union argument a;
        slot->call = argument(in, &a);
        slot->status = HC_COMMAND_PENDING;
        memcpy(slot->args, &a, sizeof(slot->args));
        if (rarely(in)) {
            slot->call = HC_SVA_UNBIND;
            slot->args[0] = pick(in);
        }
    }
    enum hv_status status = call(vm, HC_DOORBELL, 0, 0, 0, &done);
    if (status == HV_OK && entries) {
        must(done <= entries && ring->consumer == vm->rings->command.consumer);
        for (uint64_t i = 1; i <= done; i++) {
            const struct hc_command *slot = &slots[(ring->consumer - i) & (entries - 1)];
            must(slot->status <= 0);
            keep_results(slot->call, slot->status, slot->value);
        }
    }
}

/* --- The rest --------------------------------------------------------------------------------- */

static void poke(struct feed *in)
{
    struct vm *vm = vm_of(in);
    uint64_t gpa = pick(in) + 4 * (feed_8(in) & 31), value = pick(in);
    void *p = vm_ram(vm, GPADDR(gpa & ~3ull), 8);

    if (p)
        memcpy(p, &value, feed_8(in) & 1 ? 8 : 4);
}

static void map(struct feed *in)
{
    uint64_t root = pool[2 + (feed_8(in) & 1)], va = address_of(in);
    uint8_t where = feed_8(in);

    /* To memory of its own, to nowhere, and to what it guesses is a stranger's. */
    if (va >> 47 == 0)
        bed_map(GPADDR(root), va & ~PAGE_MASK,
                where < 0x80   ? 0x30000 + where * PAGE_SIZE
                : where < 0xc0 ? 0
                               : pick(in) & 0xfffffffff000);
}

static void page_request(struct feed *in)
{
    uint8_t flags = feed_8(in);
    rid_t rid = rid_of(in);
    int32_t pasid = flags & 8 ? BED_NO_PASID : (int32_t)(pasid_of(in) & 0xfffff);

    bed_page_message(rid, pasid, address_of(in) & ~PAGE_MASK, feed_8(in) & 7, flags & 1,
                     (flags & 6) != 0);
}

static void dma(struct feed *in)
{
    uint8_t how = feed_8(in);
    rid_t rid = rid_of(in);
    int32_t pasid = how & 8 ? BED_NO_PASID : (int32_t)(pasid_of(in) & 0xfffff);
    uint64_t address = address_of(in) & ~7ull, value = 0;

    if ((how & 3) == 0) {
        (void)bed_write(rid, pasid, address, 0x1122334455667788);
        return;
    }
    bool read = (how & 3) == 1 ? bed_read(rid, pasid, address, &value) == 0
                               : bed_ats_read(rid, pasid, address, &value);
    must(!read || value != CANARY);
}

static void event(struct feed *in)
{
    struct vm *vm = vm_of(in);
    struct hc_event e;

    bed_interrupts();
    /* What lies in the ring may be what a device of the VM wrote there. */
    if (vm->rings->event.entries && take_event(vm, &e)) {
        if (e.type == HC_EVENT_PAGE_REQUEST)
            remember(e.cookie);
    }
}

static void pass_time(struct feed *in)
{
    platform_pass_us((uint64_t)feed_8(in) * 10000);
    iopf_tick();
}

/* A device that no longer answers invalidations of its TLB, or does again. */
static void silence(struct feed *in)
{
    rid_t rid = rid_of(in);

    if (feed_8(in) >= 0xe0)
        bed.silent[rid] = !bed.silent[rid];
}

static void (*const steps[])(struct feed *in) = {
    by_structure, by_structure, by_structure, by_registers, by_registers, by_ring,
    by_ring,      poke,         map,          map,          page_request, page_request,
    dma,          dma,          event,        event,        pass_time,    silence,
};

/* --- One input -------------------------------------------------------------------------------- */

static void make(void)
{
    uint8_t table[4096];

    bed_fresh(NULL);
    pool_again();
    fake_reset();
    abi_calls = (struct abi_calls){ 0 };
    iopf_set_deadline(1000);
    bed_make(NULL, 1);
    size_t length = bed_dmar(table);
    must(iommu_vtd.probe(table, length, &device_events) == HV_OK);
    must(iommu_vtd.start() == HV_OK);
    iommu = &iommu_vtd;
    /* Context tables, one for each bus, stay with the driver. */
    struct vm *first_user = abi_make_vm(2, "first", bed.ram, BED_RAM);
    must(device_add(first_user, &(struct boot_pci){ BED_A, 1, 0 }) == HV_OK &&
         device_add(first_user, &(struct boot_pci){ BED_C, 2, 0 }) == HV_OK);
    abi_free_vm(first_user);
    drivers = pages_used();
    vms_here[0] = abi_make_vm(0, "vm", bed.ram, BED_RAM);
    vms_here[1] = abi_make_vm(1, "other", platform_ram(4 << 20), 4 << 20);
    must(device_add(vms_here[0], &(struct boot_pci){ BED_A, 1, 0 }) == HV_OK &&
         device_add(vms_here[0], &(struct boot_pci){ BED_B, 2, 0 }) == HV_OK);
    must(device_add(vms_here[1], &(struct boot_pci){ BED_C, 3, 0 }) == HV_OK);
    stranger = platform_ram(STRANGER);
    memset(platform_memory(stranger.v, STRANGER), 0x5a, STRANGER);

    uint64_t first = bed_root().v, second = bed_root().v;
    uint64_t numbers[20] = { 0,
                             1,
                             first,
                             second,
                             SCRATCH,
                             RING_BASE,
                             COMMANDS,
                             HC_PASID_NONE,
                             HC_PASID_ANY,
                             0xfffff,
                             VA,
                             OUTSIDE,
                             ~0ull,
                             PAGE_SIZE,
                             stranger.v,
                             BED_RAM,
                             VM_RAM_HIGH,
                             RING_BASE + HC_RING_ENTRIES,
                             COMMANDS + HC_RING_ENTRIES,
                             BED_RAM - 8 };
    memset(pool, 0, sizeof(pool));
    memcpy(pool, numbers, sizeof(numbers));
    pool_next = npasids = 0;
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct feed in = { data, size };

    make();
    for (unsigned n = 0; in.left && n < STEPS; n++)
        steps[feed_8(&in) % (sizeof(steps) / sizeof(steps[0]))](&in);
    bed_interrupts();
    const uint64_t *word = platform_memory(stranger.v, STRANGER);
    for (size_t i = 0; i < STRANGER / 8; i += 8) /* a write is seen in the first word of a line */
        must(word[i] == CANARY);
    for (unsigned i = 0; i < 2; i++) {
        bed_interrupts();
        abi_free_vm(vms_here[i]);
    }
    must(bed_check(NULL) == 0);
    must(pages_used() == drivers);
    pool_again();
}
