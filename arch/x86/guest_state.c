/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/guest_state.h"

#include "arch/x86/asm.h"

enum { VECTOR_DF = 8, VECTOR_PF = 14 };

/* #DE, #TS, #NP, #SS, #GP: two of them make a double fault. */
static bool contributory(unsigned vector)
{
    return vector == 0 || (vector >= 10 && vector <= 13);
}

enum exceptions exceptions_combine(unsigned first, unsigned second)
{
    if (!contributory(second) && second != VECTOR_PF)
        return EXCEPTIONS_SECOND;
    if (first == VECTOR_DF)
        return EXCEPTIONS_SHUTDOWN;
    if (first == VECTOR_PF || (contributory(first) && contributory(second)))
        return EXCEPTIONS_DOUBLE_FAULT;
    return EXCEPTIONS_SECOND;
}

/* Memory types 2 and 3 do not exist (SDM 3A table 12-10). */
bool pat_valid(uint64_t value)
{
    for (unsigned i = 0; i < 8; i++, value >>= 8) {
        if ((value & 0xff) > 7 || (value & 0xff) == 2 || (value & 0xff) == 3)
            return false;
    }
    return true;
}

bool efer_valid(uint64_t value, uint64_t efer, uint64_t cr0)
{
    return !(value & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)) &&
           !((cr0 & CR0_PG) && ((value ^ efer) & EFER_LME));
}

uint64_t rip_behind(uint64_t rip, uint64_t length, bool long_code)
{
    return long_code ? rip + length : (uint32_t)(rip + length);
}
