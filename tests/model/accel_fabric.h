/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What lies between accelerators and the remapping unit: it gives the requests of each accelerator
 * to the unit, and brings the unit's device-TLB invalidations and page responses to the accelerator
 * with that RID. The unit may be replaced at any time (a reset of the machine makes a new one).
 */
#ifndef TESTS_MODEL_ACCEL_FABRIC_H
#define TESTS_MODEL_ACCEL_FABRIC_H

#include "tests/model/accel.h"

enum { ACCEL_FABRIC_MAX = 8 };

struct accel_fabric {
    struct vtd_model *unit;
    void *ctx; /* for complain */
    void (*complain)(void *ctx, uint16_t rid, const char *rule, const char *text);
    struct accel_port {
        struct accel_fabric *fabric;
        struct accel *accel;
        uint16_t rid;
    } ports[ACCEL_FABRIC_MAX];
    unsigned count;
};

/* A new accelerator behind the fabric; NULL if there is no room. Zero `fabric` before the first. */
struct accel *accel_fabric_add(struct accel_fabric *fabric, uint16_t rid);
void accel_fabric_destroy(struct accel_fabric *fabric); /* the accelerators; not the unit */
/* One slice of each accelerator. True: there is more to do now. */
bool accel_fabric_run(struct accel_fabric *fabric);

/* For struct vtd_model_bus, called with the fabric. No accelerator has that RID: nobody answers. */
bool accel_fabric_devtlb_invalidate(struct accel_fabric *fabric, uint16_t rid, int32_t pasid,
                                    bool global, uint64_t addr, uint64_t size);
void accel_fabric_page_response(struct accel_fabric *fabric, uint16_t rid, int32_t pasid,
                                uint16_t prgi, uint8_t code);

#endif
