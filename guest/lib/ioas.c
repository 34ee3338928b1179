/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest/lib/ioas.h"

#include <stddef.h>

enum hv_status ioas_create(uint64_t first, uint64_t last, uint32_t *ioas)
{
    struct hc_ioas_create args = { .size = sizeof(args), .first = first, .last = last };
    uint64_t value = 0;
    enum hv_status status = sluice_call_struct(HC_IOAS_CREATE, &args, &value);

    *ioas = (uint32_t)value;
    return status;
}

enum hv_status ioas_destroy(uint32_t ioas)
{
    enum hv_status status;

    do
        status = sluice_call(HC_IOAS_DESTROY, ioas, 0, 0, NULL);
    while (status == HV_EAGAIN);
    return status;
}

enum hv_status ioas_map(uint32_t ioas, uint32_t flags, uint64_t *iova, uint64_t gpa, uint64_t bytes)
{
    struct hc_ioas_map args = {
        .size = sizeof(args),
        .flags = flags,
        .ioas = ioas,
        .iova = *iova,
        .gpa = gpa,
        .bytes = bytes,
    };
    uint64_t value = 0;
    enum hv_status status = sluice_call_struct(HC_IOAS_MAP, &args, &value);

    if (status == HV_OK && !(flags & HC_IOAS_FIXED))
        *iova = value;
    return status;
}

enum hv_status ioas_unmap(uint32_t ioas, uint32_t flags, uint64_t iova, uint64_t bytes,
                          uint64_t *done)
{
    struct hc_ioas_unmap args = {
        .size = sizeof(args),
        .flags = flags,
        .ioas = ioas,
        .iova = iova,
        .bytes = bytes,
    };
    uint64_t value, sum = 0;
    enum hv_status status;

    do {
        value = 0;
        status = sluice_call_struct(HC_IOAS_UNMAP, &args, &value);
        sum += value;
    } while (status == HV_EAGAIN);
    if (done)
        *done = sum;
    return status;
}

enum hv_status ioas_copy(uint32_t to, uint32_t from, uint64_t to_iova, uint64_t from_iova,
                         uint64_t bytes)
{
    struct hc_ioas_copy args = {
        .size = sizeof(args),
        .flags = HC_IOAS_FIXED,
        .to = to,
        .from = from,
        .to_iova = to_iova,
        .from_iova = from_iova,
        .bytes = bytes,
    };
    return sluice_call_struct(HC_IOAS_COPY, &args, NULL);
}

enum hv_status ioas_require(uint32_t ioas, const struct hc_iova_range *ranges, uint32_t count)
{
    struct hc_ioas_ranges args = {
        .size = sizeof(args),
        .ioas = ioas,
        .count = count,
        .ranges = (uint64_t)ranges,
    };
    return sluice_call_struct(HC_IOAS_REQUIRE_IOVA, &args, NULL);
}

enum hv_status ioas_ranges(uint32_t ioas, struct hc_iova_range *ranges, uint32_t *count)
{
    struct hc_ioas_ranges args = {
        .size = sizeof(args),
        .ioas = ioas,
        .count = *count,
        .ranges = (uint64_t)ranges,
    };
    uint64_t value = 0;
    enum hv_status status = sluice_call_struct(HC_IOAS_RANGES, &args, &value);

    *count = (uint32_t)value;
    return status;
}
