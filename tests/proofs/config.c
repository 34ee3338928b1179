/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers of sluice.cfg: what is read is what is written, or it is refused. */
#include "tests/proofs/proof.h"

#include "boot/config.c"

typedef unsigned __int128 wide;

/* The number that digits write, so wide that these lengths cannot overflow. */
static bool written(struct span s, unsigned base, wide *value)
{
    *value = 0;
    for (size_t i = 0; i < s.length; i++) {
        char c = s.at[i];
        unsigned d = c >= '0' && c <= '9'                 ? (unsigned)(c - '0')
                     : base == 16 && c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                     : base == 16 && c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                          : 99;
        if (d == 99)
            return false;
        *value = *value * base + d;
    }
    return s.length > 0;
}

static void same(unsigned base, size_t longest, uint64_t max)
{
    char text[20];
    struct span s = { text, any_between(0, 20) };
    uint64_t out = 7;
    wide value;

    assume(s.length <= longest);
    bool good = number(s, base, max, &out), number_there = written(s, base, &value);
    prove(good == (number_there && value <= max));
    prove(good ? out == value : out == 7);
}

/* proof: hexadecimal_numbers slow --unwind 21 */
/* broken: boot/config.c s/value > (max - d) \/ base/value > max \/ base/ */
/* broken: boot/config.c s/c - 'a' + 10/c - 'a' + 9/ */
void hexadecimal_numbers(void)
{
    same(16, 20, any_u64());
}

/* proof: decimal_numbers slow --unwind 21 */
/* broken: boot/config.c s/value > (max - d) \/ base/value > max \/ base/ */
/* broken: boot/config.c s/ || d > max || / || / */
void decimal_numbers(void)
{
    same(10, 5, any_between(0, 65535));
}

/* Any text of eight characters: no overflow, no byte outside, at most 2^52. */
/* proof: sizes --unwind 10 */
/* broken: boot/config.c s/(1ull << 52) >> shift/1ull << 52/ */
/* broken: boot/config.c s/unsigned i = 0; s.length && i <  *sizeof/unsigned i = 0; i < sizeof/ */
void sizes(void)
{
    char text[8];
    struct span s = { text, any_between(0, 8) };
    uint64_t out;

    if (size(s, &out))
        prove(out <= 1ull << 52);
}

/* proof: pieces_stay_inside --unwind 10 */
/* broken: boot/config.c s/s.length && is_space(s.at\[s.length/is_space(s.at[s.length/ */
/* broken: boot/config.c s/(head.length < s->length);/1;/ */
void pieces_stay_inside(void)
{
    char text[8];
    struct span s = { text, any_between(0, 8) };
    const char *end = text + s.length;
    struct span head = cut(&s, '=');

    prove(s.at >= text && s.at + s.length == end);
    prove(head.at >= text && head.at + head.length <= end);
    if (head.length)
        prove(!is_space(head.at[0]) && !is_space(head.at[head.length - 1]));
}

/* proof: error_text_ends slow --unwind 162 */
/* broken: boot/config.c s/used + 1 < sizeof(error->text)/used < sizeof(error->text)/ */
void error_text_ends(void)
{
    struct config_error e;
    char text[4];
    unsigned used = any_between(0, sizeof(e.text) - 1);

    e.text[used] = 0;
    append(&e, text, any_between(0, 4));
    bool ends = false;
    for (unsigned i = 0; i < sizeof(e.text); i++)
        ends |= !e.text[i];
    prove(ends);
}
