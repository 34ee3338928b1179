/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The unit and the accelerators as PCI functions. See machine.h.
 */
#include "tests/model/server/machine.h"

#include <inttypes.h>
#include <string.h>

#include "tests/model/server/journal.h"

/* --- what the unit reaches ------------------------------------------------------------------- */

/* Every client announces the same memory: take that of the first function that has one. */
static struct guest_memory *memory(struct machine *m)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->functions[i].socket.client >= 0)
            return &m->functions[i].socket.memory;
    return &m->functions[0].socket.memory;
}

static bool bus_read(void *ctx, uint64_t hpa, void *buf, size_t len)
{
    return guest_memory_read(memory(ctx), hpa, buf, len);
}

static bool bus_write(void *ctx, uint64_t hpa, const void *buf, size_t len)
{
    return guest_memory_write(memory(ctx), hpa, buf, len);
}

static bool bus_cas64(void *ctx, uint64_t hpa, uint64_t *expected, uint64_t desired, bool *swapped)
{
    return guest_memory_cas64(memory(ctx), hpa, expected, desired, swapped);
}

static void bus_interrupt(void *ctx, uint64_t addr, uint32_t data)
{
    struct machine *m = ctx;

    m->interrupts++;
    journal_trace("interrupt 0x%" PRIx64 " data 0x%x", addr, data);
    for (unsigned i = 0; i < m->count; i++)
        if (m->functions[i].socket.client >= 0) {
            vfio_user_dma_write(&m->functions[i].socket, addr, &data, sizeof(data));
            return;
        }
}

static bool bus_invalidate(void *ctx, uint16_t rid, int32_t pasid, bool global, uint64_t addr,
                           uint64_t size)
{
    struct machine *m = ctx;
    bool answered = accel_fabric_devtlb_invalidate(&m->fabric, rid, pasid, global, addr, size);

    journal_trace("devtlb rid 0x%x pasid %d%s addr 0x%" PRIx64 " size 0x%" PRIx64 "%s", rid, pasid,
                  global ? " global" : "", addr, size, answered ? "" : " no answer");
    return answered;
}

static void bus_response(void *ctx, uint16_t rid, int32_t pasid, uint16_t prgi, uint8_t code)
{
    struct machine *m = ctx;

    journal_trace("response rid 0x%x pasid %d group %u code %u", rid, pasid, prgi, code);
    accel_fabric_page_response(&m->fabric, rid, pasid, prgi, code);
}

static void unit_complains(void *ctx, const char *rule, const char *text)
{
    (void)ctx;
    journal_complain("unit", rule, text);
}

static void accel_complains(void *ctx, uint16_t rid, const char *rule, const char *text)
{
    struct machine *m = ctx;

    for (unsigned i = 0; i < m->count; i++)
        if (m->functions[i].accel && m->functions[i].rid == rid)
            journal_complain(m->functions[i].name, rule, text);
}

static bool make_unit(struct machine *m)
{
    const struct vtd_model_bus bus = {
        .ctx = m,
        .read = bus_read,
        .write = bus_write,
        .cas64 = bus_cas64,
        .interrupt = bus_interrupt,
        .devtlb_invalidate = bus_invalidate,
        .page_response = bus_response,
        .complain = unit_complains,
    };

    if (m->unit)
        vtd_model_destroy(m->unit);
    m->unit = m->fabric.unit = vtd_model_create(&m->config, &bus);
    return m->unit != NULL;
}

/* --- what the clients reach ------------------------------------------------------------------ */

static void reset_unit(struct function *f)
{
    static const struct pci_identity id = { .vendor = UNIT_VENDOR,
                                            .device = UNIT_DEVICE,
                                            .class_code = 0x088000,
                                            .revision = 1,
                                            .bar0_size = UNIT_BAR0_SIZE };

    pci_config_init(&f->config, &id);
    if (!make_unit(f->machine))
        journal_complain("server", "out-of-memory", "no memory for a new unit");
}

static void on_reset(void *ctx)
{
    struct function *f = ctx;

    journal_trace("%s reset", f->name);
    f->machine->resets++;
    if (f->accel)
        accel_reset(f->accel);
    else
        reset_unit(f);
}

/* The machine is going: what the devices still have to do would only meet missing memory. */
static void on_disconnected(void *ctx)
{
    struct machine *m = ((struct function *)ctx)->machine;

    for (unsigned i = 0; i < m->count; i++)
        if (m->functions[i].accel)
            accel_reset(m->functions[i].accel);
        else
            reset_unit(&m->functions[i]);
}

static void on_message_failed(void *ctx, int error)
{
    struct function *f = ctx;

    f->machine->interrupts_refused++;
    journal_note("%s: the client refused an interrupt: %s (is Bus Master on?)", f->name,
                 strerror(error));
}

static bool unit_access_ok(uint32_t offset, unsigned size)
{
    if ((size == 4 || size == 8) && offset % size == 0)
        return true;
    journal_complain("unit", "mmio-size",
                     "register access that is not an aligned 4 or 8 bytes (11.2)");
    return false;
}

static uint64_t read_region(struct function *f, unsigned region, uint32_t offset, unsigned size)
{
    if (region == VFIO_USER_CONFIG)
        return f->accel ? accel_config_read(f->accel, offset, size)
                        : pci_config_space_read(&f->config, offset, size);
    if (f->accel)
        return accel_mmio_read(f->accel, offset, size);
    return unit_access_ok(offset, size) ? vtd_model_mmio_read(f->machine->unit, offset, size) : 0;
}

static void write_region(struct function *f, unsigned region, uint32_t offset, unsigned size,
                         uint64_t value)
{
    if (region == VFIO_USER_CONFIG) {
        if (f->accel)
            accel_config_write(f->accel, offset, size, value);
        else
            pci_config_space_write(&f->config, offset, size, value);
    } else if (f->accel) {
        accel_mmio_write(f->accel, offset, size, value);
    } else if (unit_access_ok(offset, size)) {
        vtd_model_mmio_write(f->machine->unit, offset, size, value);
    }
}

static uint64_t on_read(void *ctx, unsigned region, uint32_t offset, unsigned size)
{
    struct function *f = ctx;
    uint64_t value = read_region(f, region, offset, size);

    journal_trace("%s read %s+0x%x/%u = 0x%" PRIx64, f->name, region ? "config" : "bar", offset,
                  size, value);
    return value;
}

static void on_write(void *ctx, unsigned region, uint32_t offset, unsigned size, uint64_t value)
{
    struct function *f = ctx;

    journal_trace("%s write %s+0x%x/%u = 0x%" PRIx64, f->name, region ? "config" : "bar", offset,
                  size, value);
    write_region(f, region, offset, size, value);
    if (f->machine->sync)
        for (unsigned i = 0; i < 65536 && machine_run(f->machine); i++)
            ;
}

/* --- assembly -------------------------------------------------------------------------------- */

static const struct vfio_user_ops ops = {
    .read = on_read,
    .write = on_write,
    .reset = on_reset,
    .disconnected = on_disconnected,
    .message_failed = on_message_failed,
};

static struct function *add(struct machine *m, const char *name, uint16_t rid, const char *path,
                            uint32_t bar0_size)
{
    struct function *f = &m->functions[m->count];

    if (m->count == MACHINE_FUNCTIONS) {
        fprintf(stderr, "device-server: more than %d functions\n", MACHINE_FUNCTIONS);
        return NULL;
    }
    for (unsigned i = 0; i < m->count; i++)
        if (strcmp(m->functions[i].name, name) == 0 ||
            (m->functions[i].accel && m->functions[i].rid == rid)) {
            fprintf(stderr, "device-server: %s: name or rid used twice\n", name);
            return NULL;
        }
    f->machine = m;
    f->rid = rid;
    snprintf(f->name, sizeof(f->name), "%s", name);
    f->socket.name = f->name;
    f->socket.path = path;
    f->socket.ops = &ops;
    f->socket.ctx = f;
    f->socket.bar0_size = bar0_size;
    f->socket.listener = f->socket.client = -1;
    m->count++;
    return f;
}

bool machine_add_unit(struct machine *m, const char *path)
{
    if (m->count > 0) {
        fprintf(stderr, "device-server: one --unit, before every --accel\n");
        return false;
    }
    m->has_unit = true;
    return add(m, "unit", 0, path, UNIT_BAR0_SIZE) != NULL;
}

bool machine_add_accel(struct machine *m, const char *name, uint16_t rid, const char *path,
                       uint64_t mischief)
{
    char full[32];

    snprintf(full, sizeof(full), "accel-%s", name);

    struct function *f = add(m, full, rid, path, ACCEL_BAR0_SIZE);

    if (!f)
        return false;
    m->fabric.ctx = m;
    m->fabric.complain = accel_complains;
    f->accel = accel_fabric_add(&m->fabric, rid);
    if (f->accel)
        accel_set_mischief(f->accel, mischief);
    return f->accel != NULL;
}

bool machine_start(struct machine *m)
{
    if (m->has_unit)
        reset_unit(&m->functions[0]);
    if (!m->unit && !make_unit(m))
        return false;
    for (unsigned i = 0; i < m->count; i++) {
        int error = vfio_user_listen(&m->functions[i].socket);

        if (error) {
            fprintf(stderr, "device-server: %s: %s\n", m->functions[i].socket.path,
                    strerror(error));
            return false;
        }
    }
    return true;
}

void machine_stop(struct machine *m)
{
    for (unsigned i = 0; i < m->count; i++)
        vfio_user_close(&m->functions[i].socket);
    accel_fabric_destroy(&m->fabric);
    if (m->unit)
        vtd_model_destroy(m->unit);
    m->unit = NULL;
}

bool machine_run(struct machine *m)
{
    vtd_model_run(m->unit);

    bool more = accel_fabric_run(&m->fabric);

    vtd_model_run(m->unit); /* page requests that came just now */
    return more;
}

void machine_print_stats(const struct machine *m, FILE *to)
{
    fprintf(to, "complaints %u\n", journal_complaints());
    fprintf(to, "resets %" PRIu64 "\n", m->resets);
    fprintf(to, "unit.interrupts %" PRIu64 "\n", m->interrupts);
    fprintf(to, "unit.interrupts_refused %" PRIu64 "\n", m->interrupts_refused);
    for (unsigned i = 0; i < m->count; i++) {
        const struct function *f = &m->functions[i];

        if (!f->accel)
            continue;

        const struct accel_stats *s = accel_stats(f->accel);
        const struct {
            const char *key;
            uint64_t value;
        } lines[] = {
            { "descriptors", s->descriptors },
            { "failed", s->failed },
            { "bytes", s->bytes },
            { "page_requests", s->page_requests },
            { "responses", s->responses },
            { "faults", s->refused },
            { "translations", s->translations },
            { "tlb_hits", s->tlb_hits },
            { "invalidations", s->invalidations },
            { "interrupts", s->interrupts },
        };

        for (size_t j = 0; j < sizeof(lines) / sizeof(lines[0]); j++)
            fprintf(to, "%s.%s %" PRIu64 "\n", f->name, lines[j].key, lines[j].value);
    }
}
