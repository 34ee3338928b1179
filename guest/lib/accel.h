/* SPDX-License-Identifier: BSD-2-Clause */
/* Driver of the test accelerator (docs/accelerator.md). */
#ifndef GUEST_LIB_ACCEL_H
#define GUEST_LIB_ACCEL_H

#include <stdbool.h>
#include <stdint.h>

#define ACCEL_PCI_ID 0x51051b36u

enum accel_operation { ACCEL_NOP, ACCEL_COPY, ACCEL_FILL, ACCEL_COMPARE, ACCEL_CRC };
enum accel_flag {
    ACCEL_ATS = 1,
    ACCEL_PAGE_REQUESTS = 2,
    ACCEL_INTERRUPT = 4,
    ACCEL_UNTRANSLATED_COMPLETION = 8,
};
enum accel_status {
    ACCEL_PENDING,
    ACCEL_DONE,
    ACCEL_REFUSED,
    ACCEL_PAGE_INVALID,
    ACCEL_PAGE_FAILURE,
    ACCEL_ATS_FAILED,
    ACCEL_MALFORMED,
    ACCEL_ABORTED,
};

struct accel_descriptor {
    uint32_t pasid; /* bits 19:0; ACCEL_PASID set: carry it */
    uint8_t operation, flags;
    uint16_t interrupt;
    uint64_t source, destination, size, pattern, completion, cookie, reserved;
};
#define ACCEL_PASID (1u << 20)

struct accel_completion {
    uint8_t status, result;
    uint16_t page_requests;
    uint32_t crc;
    uint64_t bytes, fault_address, cookie;
};

struct accel {
    volatile uint64_t *bar;
    uint32_t rid;
};

/* Take the function at @rid into use: BAR, bus master, reset, enable. False: not an accelerator. */
bool accel_open(struct accel *a, uint32_t rid);
void accel_submit(struct accel *a, const struct accel_descriptor *d);
uint64_t accel_bytes(const struct accel *a); /* moved since reset */
uint64_t accel_page_requests(const struct accel *a);
uint64_t accel_errors(struct accel *a); /* ERROR register, cleared */
bool accel_busy(const struct accel *a);
/* While held, descriptors are taken but none makes a step; then all start together. */
void accel_hold(struct accel *a, bool on);
/* Interrupt message @n, 0 to 15, that descriptors may name: what is written where. */
void accel_message(struct accel *a, unsigned n, uint32_t address, uint32_t data);
/* Masked, it waits, and is sent when it is set again. */
void accel_message_masked(struct accel *a, unsigned n, uint32_t address, uint32_t data);
void accel_mischief(struct accel *a, uint64_t bits);

#endif
