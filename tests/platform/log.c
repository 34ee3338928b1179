/* SPDX-License-Identifier: BSD-2-Clause */
/* The log, kept for the test to look at, and panic, which a test may expect. In place of hv/log.c.
 */
#include "hv/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/platform/machine.h"

enum log_level log_max = LOG_DEBUG;

static char text[1 << 16];
static size_t length;

static jmp_buf *panic_to;
static char panic_text[512];

void log_fresh(void)
{
    platform_clear_log();
}

void platform_clear_log(void)
{
    length = 0;
    text[0] = 0;
}

const char *platform_log(void)
{
    return text;
}

bool platform_logged(const char *what)
{
    return strstr(text, what) != NULL;
}

static void keep(const char *line)
{
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    size_t n = strlen(line);

    if (getenv("SLUICE_LOG"))
        fprintf(stderr, "%s\n", line);
    pthread_mutex_lock(&one);
    if (length + n + 2 > sizeof(text))
        length = 0; /* the oldest go */
    memcpy(text + length, line, n);
    length += n;
    text[length++] = '\n';
    text[length] = 0;
    pthread_mutex_unlock(&one);
}

void log_line(enum log_level level, const char *area, const char *format, ...)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };
    char line[512];
    va_list ap;

    if (level > log_max)
        return;
    int n = snprintf(line, sizeof(line), "%s %s: ", names[level], area);
    va_start(ap, format);
    vsnprintf(line + n, sizeof(line) - (size_t)n, format, ap);
    va_end(ap);
    keep(line);
}

void log_guest(const char *name, const char *guest_text, unsigned n)
{
    char line[512];

    snprintf(line, sizeof(line), "[%s] %.*s", name, (int)n, guest_text);
    keep(line);
}

bool log_allowed(struct log_limit *limit, uint32_t burst)
{
    uint64_t second = time_now() / (time_ticks_per_us() * 1000000);

    if (limit->window != second)
        *limit = (struct log_limit){ .window = second };
    if (limit->count++ < burst)
        return true;
    limit->dropped++;
    return false;
}

void panic(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(panic_text, sizeof(panic_text), format, ap);
    va_end(ap);
    if (panic_to)
        longjmp(*panic_to, 1);
    fprintf(stderr, "panic: %s\n", panic_text);
    abort();
}

bool platform_panics(void (*fn)(void *arg), void *arg, const char **what)
{
    jmp_buf here, *before = panic_to;
    volatile bool panicked = true;

    if (setjmp(here) == 0) {
        panic_to = &here;
        fn(arg);
        panicked = false;
    } else {
        locks_fresh();
    }
    panic_to = before;
    if (what)
        *what = panicked ? panic_text : NULL;
    return panicked;
}
