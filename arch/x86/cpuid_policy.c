/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SDM 2A CPUID, APM 3 appendix E. A feature passes only if a guest can use it without our help: it
 * needs no MSR that the MSR policy refuses, no state beyond XCR0's (arch/x86/xstate.c), and tells
 * nothing of the machine's other guests. Virtualisation, power, performance counters, debug store,
 * SMX, SGX, speculation control, protection keys, CET and TSX therefore stay hidden.
 */
#include "arch/x86/cpuid_policy.h"

#include "arch/x86/xstate.h"
#include "hv/types.h"
#include "sluice/hypercall.h"

#define ALL    0xffffffffu
#define ANY    0xffffffffu /* subleaf */
#define BIT(n) (1u << (n))

#define LEAF_TOPOLOGY     0xbu
#define LEAF_MAX          0x16u
#define LEAF_EXTENDED_MAX 0x80000008u

/* Leaf 1 */
#define F1_ECX                                                                                     \
    (BIT(0) /* SSE3 */ | BIT(1) /* PCLMUL */ | BIT(9) /* SSSE3 */ | BIT(12) /* FMA */ |            \
     BIT(13) /* CMPXCHG16B */ | BIT(17) /* PCID */ | BIT(19) /* SSE4.1 */ | BIT(20) /* SSE4.2 */ | \
     BIT(22) /* MOVBE */ | BIT(23) /* POPCNT */ | BIT(25) /* AES */ | BIT(26) /* XSAVE */ |        \
     BIT(28) /* AVX */ | BIT(29) /* F16C */ | BIT(30) /* RDRAND */)
#define F1_ECX_X2APIC       BIT(21)
#define F1_ECX_TSC_DEADLINE BIT(24)
#define F1_ECX_OSXSAVE      BIT(27)
#define F1_ECX_HYPERVISOR   BIT(31)
/* FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFLUSH MMX FXSR SSE SSE2
 * SS */
#define F1_EDX              0x0f8bfbffu
#define F1_EDX_HTT          BIT(28) /* more than one logical processor */

/* Leaf 7: FSGSBASE BMI1 AVX2 FDP SMEP BMI2 ERMS INVPCID FCS AVX512F/DQ RDSEED ADX SMAP AVX512IFMA
 * CLFLUSHOPT CLWB AVX512CD SHA AVX512BW/VL */
#define F7_EBX                                                                                     \
    (BIT(0) | BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(10) | BIT(13) | BIT(16) |  \
     BIT(17) | BIT(18) | BIT(19) | BIT(20) | BIT(21) | BIT(23) | BIT(24) | BIT(28) | BIT(29) |     \
     BIT(30) | BIT(31))
/* AVX512VBMI UMIP AVX512VBMI2 GFNI VAES VPCLMUL AVX512VNNI BITALG VPOPCNTDQ LA57 RDPID */
#define F7_ECX                                                                                     \
    (BIT(1) | BIT(2) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14) |          \
     BIT(16) | BIT(22))
#define F7_EDX (BIT(4) /* FSRM */ | BIT(10) /* MD_CLEAR */ | BIT(14) /* SERIALIZE */)

/* Leaf 0x80000001: LAHF CR8 ABM SSE4A MISALIGNSSE PREFETCHW XOP FMA4 TBM */
#define F81_ECX (BIT(0) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(11) | BIT(16) | BIT(21))
/* those of leaf 1, SYSCALL NX MMXEXT 1G RDTSCP LM 3DNOW */
#define F81_EDX                                                                                    \
    ((F1_EDX & 0x0183f3ffu) | BIT(11) | BIT(20) | BIT(22) | BIT(26) | BIT(27) | BIT(29) |          \
     BIT(30) | BIT(31))

struct query {
    const struct cpuid_view *view;
    uint32_t leaf, subleaf;
};

static void highest_basic(const struct query *, struct cpuid *r)
{
    if (r->eax > LEAF_MAX)
        r->eax = LEAF_MAX;
    if (r->eax < LEAF_TOPOLOGY)
        r->eax = LEAF_TOPOLOGY; /* which needs no hardware */
}

static void highest_extended(const struct query *, struct cpuid *r)
{
    if (r->eax > LEAF_EXTENDED_MAX)
        r->eax = LEAF_EXTENDED_MAX;
}

static void identity(const struct query *q, struct cpuid *r)
{
    const struct cpuid_view *w = q->view;

    r->ebx = (r->ebx & 0xff00) | w->nvcpus << 16 | w->index << 24; /* CLFLUSH size stays */
    r->ecx |= F1_ECX_X2APIC | F1_ECX_TSC_DEADLINE | F1_ECX_HYPERVISOR;
    if (w->osxsave && (r->ecx & BIT(26)))
        r->ecx |= F1_ECX_OSXSAVE;
    if (w->nvcpus > 1)
        r->edx |= F1_EDX_HTT;
}

/* Each vCPU is a core of its own that shares no cache. */
static void private_cache(const struct query *, struct cpuid *r)
{
    r->eax &= 0x3fff;
}

/* Level 0: one thread per core. Level 1: the vCPUs of the package. */
static void topology(const struct query *q, struct cpuid *r)
{
    uint32_t shift = 0;

    while ((1u << shift) < q->view->nvcpus)
        shift++;
    *r = (struct cpuid){ .ecx = q->subleaf & 0xff, .edx = q->view->index };
    if (q->subleaf == 0) {
        r->ebx = 1;
        r->ecx |= 1u << 8; /* SMT */
    } else if (q->subleaf == 1) {
        r->eax = shift;
        r->ebx = q->view->nvcpus;
        r->ecx |= 2u << 8; /* core */
    }
}

static void xsave_components(const struct query *, struct cpuid *r)
{
    r->eax &= (uint32_t)xstate_allowed();
}

/* Area of one component, if XCR0 may hold it. */
static void xsave_component(const struct query *q, struct cpuid *r)
{
    if (!(xstate_allowed() >> q->subleaf & 1))
        *r = (struct cpuid){ 0 };
}

static void hypervisor(const struct query *, struct cpuid *r)
{
    *r = (struct cpuid){ SLUICE_CPUID_BASE + 1, SLUICE_CPUID_EBX, SLUICE_CPUID_ECX,
                         SLUICE_CPUID_EDX };
}

static void hypervisor_features(const struct query *q, struct cpuid *r)
{
    *r =
        (struct cpuid){ SLUICE_ABI_VERSION, q->view->features, q->view->vmmcall, q->view->tsc_khz };
}

/* Linux leaves x2APIC mode again without interrupt remapping, unless it knows the hypervisor. It
 * looks for known ones every 0x100 leaves; KVM without any feature promises nothing else. */
static void known_to_linux(const struct query *q, struct cpuid *r)
{
    *r = (struct cpuid){ q->leaf + 1, 0x4b4d564b, 0x564b4d56, 0x0000004d }; /* "KVMKVMKVM" */
}

static void processor_count(const struct query *q, struct cpuid *r)
{
    r->ecx = q->view->nvcpus - 1;
}

/* The first row that fits counts. The masks say what passes from hardware; then fix has its way. */
static const struct cpuid_row {
    uint32_t first, last, subleaf, last_subleaf;
    uint32_t eax, ebx, ecx, edx;
    void (*fix)(const struct query *q, struct cpuid *r);
} rows[] = {
    { 0x0, 0x0, ANY, 0, ALL, ALL, ALL, ALL, highest_basic },
    { 0x1, 0x1, ANY, 0, ALL, 0xff00, F1_ECX, F1_EDX, identity },
    { 0x2, 0x2, ANY, 0, ALL, ALL, ALL, ALL, NULL }, /* cache descriptors */
    { 0x4, 0x4, ANY, 0, ALL, ALL, ALL, ALL, private_cache },
    { 0x6, 0x6, ANY, 0, BIT(2) /* ARAT */, 0, 0, 0, NULL },
    { 0x7, 0x7, 0, 0, 0, F7_EBX, F7_ECX, F7_EDX, NULL },
    { 0xb, 0xb, ANY, 0, 0, 0, 0, 0, topology },
    { 0xd, 0xd, 0, 0, ALL, ALL, ALL, 0, xsave_components },
    { 0xd, 0xd, 1, 1, BIT(0) | BIT(1) | BIT(2), ALL, 0, 0, NULL }, /* XSAVEOPT XSAVEC XGETBV1 */
    { 0xd, 0xd, 2, 31, ALL, ALL, ALL, ALL, xsave_component },
    { 0x15, 0x16, ANY, 0, ALL, ALL, ALL, ALL, NULL }, /* frequencies */
    { SLUICE_CPUID_BASE, SLUICE_CPUID_BASE, ANY, 0, 0, 0, 0, 0, hypervisor },
    { SLUICE_CPUID_BASE + 1, SLUICE_CPUID_BASE + 1, ANY, 0, 0, 0, 0, 0, hypervisor_features },
    { SLUICE_CPUID_BASE + 0x100, SLUICE_CPUID_BASE + 0x100, ANY, 0, 0, 0, 0, 0, known_to_linux },
    { 0x80000000, 0x80000000, ANY, 0, ALL, ALL, ALL, ALL, highest_extended },
    { 0x80000001, 0x80000001, ANY, 0, ALL, ALL, F81_ECX, F81_EDX, NULL },
    { 0x80000002, 0x80000006, ANY, 0, ALL, ALL, ALL, ALL, NULL }, /* name, caches */
    { 0x80000007, 0x80000007, ANY, 0, 0, 0, 0, BIT(8) /* invariant TSC */, NULL },
    { 0x80000008, 0x80000008, ANY, 0, 0xffff, BIT(0) | BIT(2) /* CLZERO, XSAVEERPTR */, 0, 0,
      processor_count },
};

/* Above its highest leaf, hardware answers with something else (SDM 2A CPUID). */
static struct cpuid ask(cpuid_source *hardware, uint32_t leaf, uint32_t subleaf)
{
    if (leaf > hardware(leaf & 0x80000000, 0).eax)
        return (struct cpuid){ 0 };
    return hardware(leaf, subleaf);
}

struct cpuid cpuid_filter(const struct cpuid_view *view, cpuid_source *hardware, uint32_t leaf,
                          uint32_t subleaf)
{
    struct query q = { view, leaf, subleaf };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct cpuid_row *row = &rows[i];

        if (leaf < row->first || leaf > row->last)
            continue;
        if (row->subleaf != ANY && (subleaf < row->subleaf || subleaf > row->last_subleaf))
            continue;

        struct cpuid r = ask(hardware, leaf, subleaf);
        r = (struct cpuid){ r.eax & row->eax, r.ebx & row->ebx, r.ecx & row->ecx,
                            r.edx & row->edx };
        if (row->fix)
            row->fix(&q, &r);
        return r;
    }
    return (struct cpuid){ 0 };
}

struct cpuid cpuid_policy(const struct cpuid_view *view, uint32_t leaf, uint32_t subleaf)
{
    return cpuid_filter(view, cpuid, leaf, subleaf);
}
