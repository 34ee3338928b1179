/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Routing between accelerators and the unit. See accel_fabric.h.
 */
#include "tests/model/accel_fabric.h"

static void translate(void *ctx, const struct vtd_request *req, bool no_write,
                      struct vtd_translation *out)
{
    struct accel_port *port = ctx;

    vtd_model_translate(port->fabric->unit, req, no_write, out);
}

static uint8_t dma(void *ctx, const struct vtd_request *req, void *buf, size_t len)
{
    struct accel_port *port = ctx;

    return vtd_model_dma(port->fabric->unit, req, buf, len);
}

static void page_request(void *ctx, const struct vtd_page_request *req)
{
    struct accel_port *port = ctx;

    vtd_model_page_request(port->fabric->unit, req);
}

static void complain(void *ctx, const char *rule, const char *text)
{
    struct accel_port *port = ctx;

    if (port->fabric->complain)
        port->fabric->complain(port->fabric->ctx, port->rid, rule, text);
}

struct accel *accel_fabric_add(struct accel_fabric *fabric, uint16_t rid)
{
    if (fabric->count == ACCEL_FABRIC_MAX)
        return NULL;

    struct accel_port *port = &fabric->ports[fabric->count];
    struct accel_bus bus = { .ctx = port,
                             .translate = translate,
                             .dma = dma,
                             .page_request = page_request,
                             .complain = complain };

    port->fabric = fabric;
    port->rid = rid;
    port->accel = accel_create(rid, &bus);
    if (port->accel)
        fabric->count++;
    return port->accel;
}

void accel_fabric_destroy(struct accel_fabric *fabric)
{
    for (unsigned i = 0; i < fabric->count; i++)
        accel_destroy(fabric->ports[i].accel);
    fabric->count = 0;
}

bool accel_fabric_run(struct accel_fabric *fabric)
{
    bool more = false;

    for (unsigned i = 0; i < fabric->count; i++)
        more |= accel_run(fabric->ports[i].accel);
    return more;
}

static struct accel *find(const struct accel_fabric *fabric, uint16_t rid)
{
    for (unsigned i = 0; i < fabric->count; i++)
        if (fabric->ports[i].rid == rid)
            return fabric->ports[i].accel;
    return NULL;
}

bool accel_fabric_devtlb_invalidate(struct accel_fabric *fabric, uint16_t rid, int32_t pasid,
                                    bool global, uint64_t addr, uint64_t size)
{
    struct accel *a = find(fabric, rid);

    return a && accel_devtlb_invalidate(a, pasid, global, addr, size);
}

void accel_fabric_page_response(struct accel_fabric *fabric, uint16_t rid, int32_t pasid,
                                uint16_t prgi, uint8_t code)
{
    struct accel *a = find(fabric, rid);

    if (a)
        accel_page_response(a, pasid, prgi, code);
}
