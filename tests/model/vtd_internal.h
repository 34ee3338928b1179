/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside of the software VT-d unit: state, and what its mechanisms offer one another. Nothing
 * outside tests/model includes this. Section numbers are those of the specification, rev 5.10.
 */
#ifndef TESTS_MODEL_VTD_INTERNAL_H
#define TESTS_MODEL_VTD_INTERNAL_H

#include "tests/model/vtd_model.h"

#define BIT64(n)   (UINT64_C(1) << (n))
#define PAGE_SHIFT 12
#define PAGE_SIZE  BIT64(PAGE_SHIFT)

/* Bits hi..lo of v, and a mask of them. */
static inline uint64_t vtd_mask(unsigned hi, unsigned lo)
{
    return (hi - lo == 63 ? ~UINT64_C(0) : BIT64(hi - lo + 1) - 1) << lo;
}

static inline uint64_t vtd_bits(uint64_t v, unsigned hi, unsigned lo)
{
    return (v & vtd_mask(hi, lo)) >> lo;
}

/* Capability bits, 11.4.2 and 11.4.3. */
enum {
    CAP_RWBF = 4,
    CAP_PLMR = 5,
    CAP_PHMR = 6,
    CAP_CM = 7,
    CAP_ZLR = 22,
    CAP_PSI = 39,
    CAP_FS1GP = 56,
    CAP_PI = 59,
    CAP_FS5LP = 60,
    CAP_ECMDS = 61,
    CAP_ESIRTPS = 62,
    CAP_ESRTPS = 63
};
enum {
    ECAP_C = 0,
    ECAP_QI = 1,
    ECAP_DT = 2,
    ECAP_IR = 3,
    ECAP_EIM = 4,
    ECAP_PT = 6,
    ECAP_SC = 7,
    ECAP_MTS = 25,
    ECAP_NEST = 26,
    ECAP_PRS = 29,
    ECAP_SRS = 31,
    ECAP_NWFS = 33,
    ECAP_EAFS = 34,
    ECAP_PASID = 40,
    ECAP_DIT = 41,
    ECAP_PDS = 42,
    ECAP_SMTS = 43,
    ECAP_VCS = 44,
    ECAP_SSADS = 45,
    ECAP_SSTS = 46,
    ECAP_FSTS = 47,
    ECAP_SMPWCS = 48,
    ECAP_RPS = 49,
    ECAP_TDXCS = 50,
    ECAP_PMS = 51,
    ECAP_ADMS = 52,
    ECAP_RPRIVS = 53,
    ECAP_HPTS = 55,
    ECAP_PTRS = 56,
    ECAP_SSIRWS = 57,
    ECAP_SMS = 58,
    ECAP_RDTS = 60,
    ECAP_EIMER = 61,
    ECAP_IRREQ = 62
};
/* Global status bits, 11.4.4. */
enum {
    GSTS_TES = 31,
    GSTS_RTPS = 30,
    GSTS_WBFS = 27,
    GSTS_QIES = 26,
    GSTS_IRES = 25,
    GSTS_IRTPS = 24,
    GSTS_CFIS = 23
};
enum { FSTS_PFO = 0, FSTS_PPF = 1, FSTS_IQE = 4, FSTS_ICE = 5, FSTS_ITE = 6 };
enum { PRS_PPR = 0, PRS_PRO = 1 };
enum { TTM_LEGACY = 0, TTM_SCALABLE = 1, TTM_RESERVED = 2, TTM_ABORT = 3 };
enum { PGTT_FS = 1, PGTT_SS = 2, PGTT_NESTED = 3, PGTT_PT = 4 };

/* --- complaints (vtd_rules.c) --------------------------------------------------------------- */

enum vtd_rule {
    VTD_RULE_MMIO_UNDEFINED,
    VTD_RULE_MMIO_SIZE,
    VTD_RULE_WRITE_READ_ONLY,
    VTD_RULE_RSVDZ,
    VTD_RULE_RSVDP,
    VTD_RULE_GCMD_TWO_BITS,
    VTD_RULE_GCMD_BUSY,
    VTD_RULE_GCMD_UNSUPPORTED,
    VTD_RULE_COMMAND_BUSY,
    VTD_RULE_TE_WITHOUT_SRTP,
    VTD_RULE_TE_STALE_CACHES,
    VTD_RULE_TE_WITHOUT_QI,
    VTD_RULE_TTM_CHANGE_ACTIVE,
    VTD_RULE_SRTP_DW,
    VTD_RULE_TTM_INVALID,
    VTD_RULE_ADDRESS_WIDTH,
    VTD_RULE_IRE_WITHOUT_SIRTP,
    VTD_RULE_IRE_STALE_CACHE,
    VTD_RULE_EIME_CHANGE_ACTIVE,
    VTD_RULE_EIME_REQUIRED,
    VTD_RULE_QIE_TAIL,
    VTD_RULE_QIE_BUSY,
    VTD_RULE_IQA_BUSY,
    VTD_RULE_IQT_DISABLED,
    VTD_RULE_REGINV_QI,
    VTD_RULE_REGINV_UNSUPPORTED,
    VTD_RULE_REGINV_BUSY,
    VTD_RULE_PMR_ACTIVE,
    VTD_RULE_EVENT_MSI,
    VTD_RULE_DESC_RESERVED,
    VTD_RULE_DESC_TYPE,
    VTD_RULE_DESC_TAIL,
    VTD_RULE_DESC_WIDTH,
    VTD_RULE_DESC_MEMORY,
    VTD_RULE_DESC_MASK,
    VTD_RULE_DID_RANGE,
    VTD_RULE_DEVTLB_DISABLED,
    VTD_RULE_DEVTLB_SIZE,
    VTD_RULE_DEVTLB_PFSID,
    VTD_RULE_WAIT_ADDRESS,
    VTD_RULE_DID_SHARED,
    VTD_RULE_DID_CLASS,
    VTD_RULE_DID_STALE,
    VTD_RULE_DID_ZERO,
    VTD_RULE_PASID_SHARED,
    VTD_RULE_TABLE_SHARED,
    VTD_RULE_ENTRY_TORN,
    VTD_RULE_ENTRY_DID,
    VTD_RULE_ENTRY_PUBLISH,
    VTD_RULE_ENTRY_REUSE,
    VTD_RULE_FLUSH_MISSING,
    VTD_RULE_PRQ_MEMORY,
    VTD_RULE_PRQ_HEAD,
    VTD_RULE_PRQ_TAIL,
    VTD_RULE_PRO_CLEARED_EARLY,
    VTD_RULE_RESPONSE_UNKNOWN,
    VTD_RULE_RESPONSE_TWICE,
    VTD_RULE_RESPONSE_EARLY,
    VTD_RULE_RESPONSE_CODE,
    VTD_RULE_IRTE_TORN,
    VTD_RULE_COUNT
};

[[gnu::format(printf, 3, 4)]]
void vtd_complain(struct vtd_model *m, enum vtd_rule rule, const char *format, ...);
const char *vtd_rule_name(enum vtd_rule rule);

/* --- caches (vtd_cache.c), 6.2 -------------------------------------------------------------- */

enum vtd_kind { VTD_CONTEXT, VTD_PASID, VTD_FSPS, VTD_SSPS, VTD_IOTLB, VTD_IEC, VTD_KINDS };

/* What a lookup must match; fields that a kind does not use are 0 (Table 17). */
struct vtd_key {
    uint8_t kind, shift; /* shift: log2 of the bytes the entry covers */
    bool with_pasid;     /* IOTLB: filled by a request-with-PASID */
    uint16_t id;         /* source-id, or domain-id for paging-structure entries */
    uint32_t pasid;
    uint64_t addr; /* aligned to 1 << shift */
};

/* A finished translation, with all that is needed to judge a request again. */
struct vtd_xlat {
    uint64_t hpa;      /* of the start of the range */
    uint8_t map_shift; /* size of the mapping; the entry may be a fragment of it */
    bool rw, us;       /* first stage: AND of R/W and of U/S */
    bool r, w;         /* second stage: AND of read and of write */
    bool snoop;        /* N bit of a translation completion */
    bool dirty;        /* D is known to be set where it must be */
    bool legacy, pass;
    bool wpe, sre, rid_priv, fpd;
    uint8_t pgtt, reason; /* reason: CM=1, a cached fault */
};

struct vtd_entry {
    struct vtd_entry *hash, **hash_at; /* by key */
    struct vtd_entry *did, **did_at;   /* by domain */
    struct vtd_entry *pair, **pair_at; /* by domain and PASID */
    struct vtd_entry *next, *prev;     /* of this kind, by age */
    struct vtd_key key;
    uint16_t tag_sid, tag_did; /* what invalidation matches */
    uint32_t tag_pasid;
    uint8_t tag_pgtt;
    union {
        struct {
            uint64_t raw[8], hpa; /* context, PASID and interrupt entries */
            uint64_t last_addr;   /* address last translated through it, for replay */
            uint32_t last_pasid;
            bool used, last_with_pasid;
            bool good, counted; /* good: no fault of its own; counted: in struct vtd_did */
        };
        struct {                     /* paging-structure entries */
            uint64_t table;          /* host address of the next table */
            bool rw, us, r, w, ss_w; /* ss_w: the second stage lets that table be written */
        };
        struct vtd_xlat x;
    };
};

struct vtd_filter {
    uint32_t kinds; /* mask of 1 << kind */
    bool by_did, by_pasid, by_sid, by_addr;
    bool second_stage; /* the range is of second-stage input: see vtd_cache.c */
    uint16_t did, sid, sid_mask;
    uint32_t pasid;
    uint8_t pgtt_mask;    /* 0: any */
    uint64_t first, last; /* by_addr, inclusive */
};

struct vtd_cache;
struct vtd_cache *vtd_cache_create(void);
void vtd_cache_destroy(struct vtd_cache *c);
struct vtd_entry *vtd_cache_find(struct vtd_model *m, const struct vtd_key *key);
struct vtd_entry *vtd_cache_insert(struct vtd_model *m, const struct vtd_key *key, uint16_t sid,
                                   uint16_t did, uint32_t pasid, uint8_t pgtt);
void vtd_cache_drop(struct vtd_model *m, const struct vtd_filter *filter);
void vtd_cache_drop_dma(struct vtd_model *m); /* all but interrupt entries */
/* Calls fn on every entry with these tags until it returns false. */
void vtd_cache_each(struct vtd_model *m, uint32_t kinds, uint16_t did, uint32_t pasid,
                    bool (*fn)(struct vtd_model *, struct vtd_entry *, void *), void *arg);
size_t vtd_cache_count(const struct vtd_model *m, enum vtd_kind kind);

/* --- one request on its way (vtd_tables.c, vtd_walk.c, vtd_translate.c) --------------------- */

enum vtd_ask_kind { ASK_UNTRANSLATED, ASK_TRANSLATION, ASK_TRANSLATED, ASK_PAGE };

struct vtd_ask {
    enum vtd_ask_kind kind;
    uint16_t rid;
    bool with_pasid, privileged; /* as in the request */
    uint32_t req_pasid;
    uint64_t addr;
    bool read, write, zlr, atomic;
    bool quiet; /* replay: no fault, no A/D update, no complaint */
    /* What the tables said. */
    bool fpd, legacy, priv, have_pe;
    uint64_t ctx[4], pe[8];
    uint32_t pasid;
    uint16_t did;
    uint8_t pgtt;
};

/* Reasons that are no fault reasons. */
#define VTD_ABANDON 0xfe /* replay that would have to write memory */

uint8_t vtd_tables_context(struct vtd_model *m, struct vtd_ask *ask);
uint8_t vtd_tables_pasid(struct vtd_model *m, struct vtd_ask *ask);
uint8_t vtd_walk(struct vtd_model *m, struct vtd_ask *ask, struct vtd_xlat *out);
/* Permission of a finished translation for a request: 0 or the reason. */
uint8_t vtd_walk_judge(const struct vtd_model *m, const struct vtd_ask *ask,
                       const struct vtd_xlat *x);
/* 0, or the reason if the output lies in the interrupt range. */
uint8_t vtd_walk_output(const struct vtd_ask *ask, const struct vtd_xlat *x, uint64_t hpa);
uint8_t vtd_translate(struct vtd_model *m, struct vtd_ask *ask, struct vtd_xlat *out);
void vtd_replay(struct vtd_model *m, const struct vtd_entry *e);

/* --- faults and events (vtd_fault.c), 7.1 - 7.3 --------------------------------------------- */

enum vtd_answer { ANS_NA, ANS_UR, ANS_CA, ANS_NONE, ANS_NONE_LOGGED, ANS_PERM };
struct vtd_reason {
    uint8_t code;
    bool qualified;
    enum vtd_answer translation; /* answer to a translation request */
};
const struct vtd_reason *vtd_reason(uint8_t code);
void vtd_fault_report(struct vtd_model *m, const struct vtd_ask *ask, uint8_t reason);
void vtd_fault_report_ir(struct vtd_model *m, uint16_t rid, uint8_t reason, uint32_t index,
                         bool fpd);
void vtd_fault_status(struct vtd_model *m, unsigned bit); /* IQE, ICE, ITE become 1 */
bool vtd_fault_ppf(const struct vtd_model *m);
void vtd_fault_serviced(struct vtd_model *m); /* status may be all clear now */

struct vtd_event {
    uint32_t ctl, data, addr, uaddr;
};
void vtd_event_raise(struct vtd_model *m, struct vtd_event *e);
void vtd_event_control(struct vtd_model *m, struct vtd_event *e, uint32_t value);

/* --- the rest --------------------------------------------------------------------------------- */

void vtd_command_poll(struct vtd_model *m); /* time passes for commands */
void vtd_queue_run(struct vtd_model *m);
void vtd_queue_reset(struct vtd_model *m);
void vtd_queue_settle(struct vtd_model *m); /* carry out all that was fetched */
bool vtd_queue_quiesced(const struct vtd_model *m);
void vtd_invalidate_iotlb(struct vtd_model *m, unsigned g, uint16_t did, uint64_t addr, unsigned am,
                          bool ih);
void vtd_invalidate_piotlb(struct vtd_model *m, bool page, uint16_t did, uint32_t pasid,
                           uint64_t addr, unsigned am, bool ih);
void vtd_invalidate_context(struct vtd_model *m, unsigned g, uint16_t did, uint16_t sid,
                            unsigned fm);

void vtd_prq_destroy(struct vtd_model *m);
void vtd_prq_respond(struct vtd_model *m, uint16_t rid, bool pp, uint32_t pasid, uint16_t prgi,
                     uint8_t code);
uint8_t vtd_intremap(struct vtd_model *m, uint16_t rid, uint64_t addr, uint32_t data);

/* Table reads that hardware snoops or not (3.10). */
bool vtd_watch_read(struct vtd_model *m, uint64_t hpa, void *buf, size_t len, bool snooped);
void vtd_watch_table(struct vtd_model *m, uint64_t hpa, unsigned entry_size);
void vtd_watch_cached(struct vtd_model *m, uint64_t hpa, int change);
void vtd_watch_destroy(struct vtd_model *m);
void vtd_did_enter(struct vtd_model *m, struct vtd_entry *e);
void vtd_did_leave(struct vtd_model *m, const struct vtd_entry *e);
void vtd_did_destroy(struct vtd_model *m);

/* What is known of a domain-id from the entries that are cached under it. */
struct vtd_did {
    uint32_t entries, tlb; /* cached table entries, cached translations */
    uint64_t ssptptr;
    uint8_t aw, second_stage, ssade;
};

struct vtd_group;
struct vtd_table;
struct vtd_watch;

struct vtd_pending { /* a fetched invalidation not yet carried out */
    uint64_t q[4];
};

struct vtd_model {
    struct vtd_model_config cfg;
    struct vtd_model_bus bus;
    unsigned complaints;
    char last[256];
    uint64_t rng;

    /* registers */
    uint32_t gsts, fsts, prs, ics, pmen;
    uint32_t gcmd_pending, gcmd_value, gcmd_countdown;
    uint64_t rtaddr, root; /* written, latched by SRTP */
    uint64_t irta, ir_table;
    uint64_t iqh, iqt, iqa, iqercd, pqh, pqt, pqa;
    uint64_t ccmd, iva, iotlb;
    uint64_t plm[2], phm[2];
    uint64_t mtrr[64], rdtc;
    struct vtd_event fault_event, inv_event, page_event;
    uint64_t frcd[256][2];
    unsigned frcd_index;
    uint8_t pmen_countdown;
    bool srtp_done, sirtp_done; /* since the last disable */
    uint8_t need_inv;           /* 1 context, 2 PASID, 4 IOTLB: owed after SRTP */
    bool need_iec;

    /* invalidation queue */
    bool in_queue, last_was_wait, itag_lost, waiting_fence;
    uint16_t itag_sid;
    struct vtd_pending pending[64];
    unsigned pending_count;

    struct vtd_cache *cache;
    struct vtd_did *dids;
    struct vtd_table **tables; /* page tables that cached entries name */
    bool replaying;
    struct vtd_group **groups;
    struct vtd_watch **watches;
    uint64_t *dirty_lines; /* open hash of line numbers + 1 */
    size_t dirty_used, dirty_size;
};

static inline bool vtd_cap(const struct vtd_model *m, unsigned bit)
{
    return m->cfg.cap >> bit & 1;
}
static inline bool vtd_ecap(const struct vtd_model *m, unsigned bit)
{
    return m->cfg.ecap >> bit & 1;
}
static inline bool vtd_gsts(const struct vtd_model *m, unsigned bit)
{
    return m->gsts >> bit & 1;
}
static inline unsigned vtd_major(const struct vtd_model *m)
{
    return m->cfg.version >> 4 & 0xf;
}
static inline unsigned vtd_ttm(const struct vtd_model *m)
{
    return m->root >> 10 & 3;
}
static inline bool vtd_ssirwe(const struct vtd_model *m)
{
    return m->root >> 7 & 1;
}
static inline unsigned vtd_mgaw(const struct vtd_model *m)
{
    return (unsigned)vtd_bits(m->cfg.cap, 21, 16) + 1;
}
static inline unsigned vtd_did_width(const struct vtd_model *m)
{
    return 4 + 2 * (m->cfg.cap & 7);
}
/* Address bits 12 .. HAW-1. */
static inline uint64_t vtd_haw_page(const struct vtd_model *m)
{
    return vtd_mask(m->cfg.haw - 1u, PAGE_SHIFT);
}
static inline bool vtd_beyond_haw(const struct vtd_model *m, uint64_t addr)
{
    return addr >> m->cfg.haw != 0;
}
/* Interrupt address range FEEx_xxxx (3.15). */
static inline bool vtd_is_fee(uint64_t addr)
{
    return addr >> 20 == 0xfee;
}
uint64_t vtd_random(struct vtd_model *m);

#endif
