/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The devices that the server offers: the remapping unit and the accelerators, each a PCI function
 * behind a vfio-user socket, joined as on a board. Memory is what the clients announce; interrupts
 * leave through the unit's function.
 */
#ifndef TESTS_MODEL_SERVER_MACHINE_H
#define TESTS_MODEL_SERVER_MACHINE_H

#include <stdio.h>

#include "tests/model/accel_fabric.h"
#include "tests/model/pci_config.h"
#include "tests/model/server/vfio_user.h"

enum {
    UNIT_VENDOR = 0x1b36,
    UNIT_DEVICE = 0x5106,
    UNIT_BAR0_SIZE = 0x4000,
    MACHINE_FUNCTIONS = 1 + ACCEL_FABRIC_MAX,
};

struct machine {
    struct vtd_model_config config;
    struct vtd_model *unit;
    struct accel_fabric fabric;
    bool sync; /* finish all work before a write is answered: exact runs */
    uint64_t interrupts, interrupts_refused, resets;

    unsigned count; /* functions[0] is the unit, if `has_unit` */
    bool has_unit;
    struct function {
        struct machine *machine;
        char name[32];
        uint16_t rid;
        struct accel *accel;      /* NULL: this is the unit */
        struct pci_config config; /* the unit's; an accelerator has its own */
        struct vfio_user socket;
    } functions[MACHINE_FUNCTIONS];
};

/* Zeroed by the caller, `config` and `sync` set. False: a message says why. */
bool machine_add_unit(struct machine *m, const char *path);
bool machine_add_accel(struct machine *m, const char *name, uint16_t rid, const char *path,
                       uint64_t mischief);
bool machine_start(struct machine *m);
void machine_stop(struct machine *m);
/* A bounded slice of every device's work. True: there is more to do now. */
bool machine_run(struct machine *m);
void machine_print_stats(const struct machine *m, FILE *to);

#endif
