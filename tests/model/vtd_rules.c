/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules of the specification that software can break, by name. Names are stable: tests compare
 * them. A complaint never changes what the unit does; it fails the test.
 */
#include "tests/model/vtd_internal.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name, *section, *text;
} rules[VTD_RULE_COUNT] = {
    [VTD_RULE_MMIO_UNDEFINED] = { "mmio-undefined", "11.4", "no register here" },
    [VTD_RULE_MMIO_SIZE] = { "mmio-size", "11.2", "32-bit registers as dwords, others aligned" },
    [VTD_RULE_WRITE_READ_ONLY] = { "write-read-only", "11.3", "the register is read-only" },
    [VTD_RULE_RSVDZ] = { "rsvdz", "11.2", "reserved bits must be written as zero" },
    [VTD_RULE_RSVDP] = { "rsvdp", "11.2", "reserved bits must be written as they read" },
    [VTD_RULE_GCMD_TWO_BITS] = { "gcmd-two-bits", "11.4.4.1", "one field at a time" },
    [VTD_RULE_GCMD_BUSY] = { "gcmd-busy", "6.9", "the last command is not complete" },
    [VTD_RULE_GCMD_UNSUPPORTED] = { "gcmd-unsupported", "11.4.4.1", "not offered by the unit" },
    [VTD_RULE_COMMAND_BUSY] = { "command-busy", "6.9", "another command is in progress" },
    [VTD_RULE_TE_WITHOUT_SRTP] = { "te-without-srtp", "6.6", "SRTP before every enable" },
    [VTD_RULE_TE_STALE_CACHES] = { "te-stale-caches", "6.6", "global invalidation after SRTP" },
    [VTD_RULE_TE_WITHOUT_QI] = { "te-without-qi", "6.5.1", "scalable mode needs the queue" },
    [VTD_RULE_TTM_CHANGE_ACTIVE] = { "ttm-change-active", "6.6", "needs ESRTPS while TES=1" },
    [VTD_RULE_SRTP_DW] = { "srtp-dw", "6.5.2", "256-bit queue before scalable or abort mode" },
    [VTD_RULE_TTM_INVALID] = { "ttm-invalid", "11.4.5", "translation table mode not supported" },
    [VTD_RULE_ADDRESS_WIDTH] = { "address-width", "11.4", "address beyond the host width" },
    [VTD_RULE_IRE_WITHOUT_SIRTP] = { "ire-without-sirtp", "6.7", "SIRTP before every enable" },
    [VTD_RULE_IRE_STALE_CACHE] = { "ire-stale-cache", "6.7", "global IEC after SIRTP" },
    [VTD_RULE_EIME_CHANGE_ACTIVE] = { "eime-change-active", "11.4.10", "not while IRES=1" },
    [VTD_RULE_EIME_REQUIRED] = { "eime-required", "11.4.10", "EIMER asks for EIME=1" },
    [VTD_RULE_QIE_TAIL] = { "qie-tail", "6.5.2", "tail must be zero when enabling" },
    [VTD_RULE_QIE_BUSY] = { "qie-busy", "6.5.2", "not empty, or not after a wait" },
    [VTD_RULE_IQA_BUSY] = { "iqa-busy", "11.4.9.3", "queue not empty" },
    [VTD_RULE_IQT_DISABLED] = { "iqt-disabled", "6.5.2", "tail moved while the queue is off" },
    [VTD_RULE_REGINV_QI] = { "reginv-qi", "6.5.2", "register invalidation with the queue on" },
    [VTD_RULE_REGINV_UNSUPPORTED] = { "reginv-unsupported", "6.5.1", "version or mode has none" },
    [VTD_RULE_REGINV_BUSY] = { "reginv-busy", "11.4.6", "an invalidation is pending" },
    [VTD_RULE_PMR_ACTIVE] = { "pmr-active", "11.4.8", "range changed while PRS=1" },
    [VTD_RULE_EVENT_MSI] = { "event-msi", "5.1.6", "event message is not a valid interrupt" },
    [VTD_RULE_DESC_RESERVED] = { "desc-reserved", "6.5.2", "reserved field of a descriptor" },
    [VTD_RULE_DESC_TYPE] = { "desc-type", "6.5.2.11", "type not legal in this mode" },
    [VTD_RULE_DESC_TAIL] = { "desc-tail", "11.4.9.2", "tail outside the queue or unaligned" },
    [VTD_RULE_DESC_WIDTH] = { "desc-width", "6.5.2.11", "descriptor width not legal here" },
    [VTD_RULE_DESC_MEMORY] = { "desc-memory", "6.5.2.11", "no memory at the queue address" },
    [VTD_RULE_DESC_MASK] = { "desc-mask", "11.4.2", "mask above MAMV or MHMV" },
    [VTD_RULE_DID_RANGE] = { "did-range", "11.4.2", "domain-id wider than ND allows" },
    [VTD_RULE_DEVTLB_DISABLED] = { "devtlb-disabled", "4.3", "device-TLB request with TES=0" },
    [VTD_RULE_DEVTLB_SIZE] = { "devtlb-size", "6.5.2.5", "size encoding is not a range" },
    [VTD_RULE_DEVTLB_PFSID] = { "devtlb-pfsid", "6.5.2.5", "PFSID missing with DIT=1" },
    [VTD_RULE_WAIT_ADDRESS] = { "wait-address", "6.5.2.9", "status address is not memory" },
    [VTD_RULE_DID_SHARED] = { "did-shared", "6.2.3.1", "one domain-id, two second stages" },
    [VTD_RULE_DID_CLASS] = { "did-class", "6.2.3.1", "FS/PT entry with an SS/nested domain-id" },
    [VTD_RULE_DID_STALE] = { "did-stale", "6.5.3.3", "domain-id used again before its flush" },
    [VTD_RULE_DID_ZERO] = { "did-zero", "6.2.2", "domain-id 0 with CM=1" },
    [VTD_RULE_PASID_SHARED] = { "pasid-shared", "6.2.3.1", "same DID and PASID, other tables" },
    [VTD_RULE_TABLE_SHARED] = { "table-shared", "6.2.3.1",
                                "same tables, other FSPM, EAFE or SSADE" },
    [VTD_RULE_ENTRY_TORN] = { "entry-torn", "6.2.3.1", "present entry changed piecewise" },
    [VTD_RULE_ENTRY_DID] = { "entry-did", "6.2.3.1", "SSPTPTR or PGTT changed, DID kept" },
    [VTD_RULE_ENTRY_PUBLISH] = { "entry-publish", "9", "P set together with later pieces" },
    [VTD_RULE_ENTRY_REUSE] = { "entry-reuse", "6.5.3.3", "present again before invalidation" },
    [VTD_RULE_FLUSH_MISSING] = { "flush-missing", "3.10", "read before the line was flushed" },
    [VTD_RULE_PRQ_MEMORY] = { "prq-memory", "11.4.11.3", "no memory at the page request queue" },
    [VTD_RULE_PRQ_HEAD] = { "prq-head", "11.4.11.1", "head outside the queue" },
    [VTD_RULE_PRQ_TAIL] = { "prq-tail", "11.4.11.2", "tail is hardware's once in use" },
    [VTD_RULE_PRO_CLEARED_EARLY] = { "pro-cleared-early", "7.4.1", "PRO cleared on a full queue" },
    [VTD_RULE_RESPONSE_UNKNOWN] = { "response-unknown", "7.6", "no such page group" },
    [VTD_RULE_RESPONSE_TWICE] = { "response-twice", "7.6", "page group already answered" },
    [VTD_RULE_RESPONSE_EARLY] = { "response-early", "7.6", "last request of the group not seen" },
    [VTD_RULE_RESPONSE_CODE] = { "response-code", "7.6.1", "reserved response code" },
    [VTD_RULE_IRTE_TORN] = { "irte-torn", "9.9", "present IRTE changed by more than one store" },
};

const char *vtd_rule_name(enum vtd_rule rule)
{
    return rules[rule].name;
}

void vtd_complain(struct vtd_model *m, enum vtd_rule rule, const char *format, ...)
{
    int n = snprintf(m->last, sizeof(m->last), "%s: %s (%s): ", rules[rule].name, rules[rule].text,
                     rules[rule].section);
    va_list ap;
    va_start(ap, format);
    if (n > 0 && (size_t)n < sizeof(m->last))
        vsnprintf(m->last + n, sizeof(m->last) - (size_t)n, format, ap);
    va_end(ap);
    m->complaints++;
    if (m->bus.complain)
        m->bus.complain(m->bus.ctx, rules[rule].name, m->last);
}

unsigned vtd_model_complaints(const struct vtd_model *m, const char **last)
{
    if (last)
        *last = m->last;
    return m->complaints;
}
