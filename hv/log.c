/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log lines are put together on the caller's stack and go to the console in one piece. Formatting
 * is newlib's nano printf: it knows l, but not ll, z or hh; 64 bits are %lu and %lx.
 */
#include "hv/log.h"

#include <stdio.h>
#include <string.h>

#include "hv/lock.h"
#include "hv/platform.h"

#define LINE            240u /* longer ones are cut */
#define EMERGENCY_TRIES 100000u

enum log_level log_max = LOG_INFO;

/* Guests queue here first: however many of them write, a line of ours waits for one of theirs. */
static struct lock guests_lock = LOCK(RANK_CONSOLE);
static struct lock console_lock = LOCK(RANK_LOG);
/* Every struct log_limit: who is kept back does not wait for who writes, which is slow. */
static struct lock limit_lock = LOCK(RANK_LOG);
static _Atomic bool emergency;
static uint64_t log_start; /* time of the first line, written while the boot CPU is alone */

void log_emergency(void)
{
    atomic_store_explicit(&emergency, true, memory_order_relaxed);
}

/* @return whether it is ours to drop. */
static bool take(struct lock *l)
{
    if (!atomic_load_explicit(&emergency, memory_order_relaxed)) {
        lock_take(l);
        return true;
    }
    for (unsigned i = 0; i < EMERGENCY_TRIES; i++) {
        if (lock_try(l))
            return true;
        cpu_relax();
    }
    return false;
}

static void drop(struct lock *l, bool taken)
{
    if (taken)
        lock_drop(l);
}

/* @line has room for a newline at @length. */
static void line_out(char *line, size_t length)
{
    line[length] = '\n';
    bool taken = take(&console_lock);
    console_write(line, length + 1);
    drop(&console_lock, taken);
}

/* What snprintf returned, as a length inside a buffer of @room. */
static size_t written(int n, size_t room)
{
    if (n < 0)
        return 0;
    return (size_t)n < room ? (size_t)n : room - 1;
}

void log_line(enum log_level level, const char *area, const char *format, ...)
{
    static const char *const mark[] = { [LOG_ERROR] = "error: ", [LOG_WARN] = "warning: " };
    char line[LINE + 1];

    if (level > log_max)
        return;
    if (log_start == 0)
        log_start = time_now();
    uint64_t us = (time_now() - log_start) / time_ticks_per_us();
    size_t n = written(snprintf(line, LINE, "[%4lu.%06lu] %s: %s", us / 1000000, us % 1000000, area,
                                level < ARRAY_SIZE(mark) && !emergency ? mark[level] : ""),
                       LINE);
    va_list args;
    va_start(args, format);
    n += written(vsnprintf(line + n, LINE - n, format, args), LINE - n);
    va_end(args);
    line_out(line, n);
}

void log_guest(const char *name, const char *text, unsigned length)
{
    char line[LINE + 1];
    size_t n = written(snprintf(line, LINE, "[%s] ", name), LINE);

    /* A guest must not steer the terminal: what is not printable shows as '?'. */
    for (unsigned i = 0; i < length && n < LINE; i++) {
        unsigned char c = (unsigned char)text[i];
        line[n++] = (char)(c == '\t' || (c >= ' ' && c <= '~') ? c : '?');
    }
    bool taken = take(&guests_lock);
    line_out(line, n);
    drop(&guests_lock, taken);
}

bool log_allowed(struct log_limit *limit, uint32_t burst)
{
    uint64_t second = 1000000 * time_ticks_per_us();
    uint64_t now = time_now();
    uint32_t kept_back = 0;

    bool taken = take(&limit_lock);
    if (limit->count == 0 || now - limit->window >= second) {
        kept_back = limit->dropped;
        *limit = (struct log_limit){ .window = now };
    }
    bool allowed = limit->count < burst;
    if (allowed)
        limit->count++;
    else
        limit->dropped++;
    drop(&limit_lock, taken);

    if (kept_back != 0)
        log_warn("log", "%lu lines like the next were kept back", (unsigned long)kept_back);
    return allowed;
}
