/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The log on the serial port. One line a call, without newline at the end; lines of different CPUs
 * do not mix. Rate: whoever logs what a guest can provoke limits it (log_limited).
 */
#ifndef HV_LOG_H
#define HV_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Messages above this level are dropped. Set from the configuration at boot. */
extern enum log_level log_max;

void log_line(enum log_level level, const char *area, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A line of a guest's console, prefixed with its name. */
void log_guest(const char *name, const char *text, unsigned length);

#define log_error(area, ...) log_line(LOG_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...)  log_line(LOG_WARN, area, __VA_ARGS__)
#define log_info(area, ...)  log_line(LOG_INFO, area, __VA_ARGS__)
#define log_debug(area, ...) log_line(LOG_DEBUG, area, __VA_ARGS__)

/* At most @burst lines a second and place; says how many it kept back. Zero-initialised by the
 * user. */
struct log_limit {
    uint64_t window;
    uint32_t count, dropped;
};
bool log_allowed(struct log_limit *limit, uint32_t burst);

/* From here on a line waits only briefly for the console's lock: its holder may have been stopped.
 */
void log_emergency(void);

/* A broken invariant of ours, never a guest's doing: print, backtrace, stop the machine. */
[[noreturn]] void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define hv_assert(cond) ((cond) ? (void)0 : panic("%s:%d: %s", __FILE__, __LINE__, #cond))

#endif
