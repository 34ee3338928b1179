/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server's log file: complaints, which decide the exit code, and a trace on request. Each line
 * is written at once, so that a killed run leaves all of them.
 */
#ifndef TESTS_MODEL_SERVER_JOURNAL_H
#define TESTS_MODEL_SERVER_JOURNAL_H

#include <stdbool.h>

bool journal_open(const char *path, bool trace); /* NULL: standard error */
/* `COMPLAINT who rule: text`. After the first thousand they are only counted. */
void journal_complain(const char *who, const char *rule, const char *text);
unsigned journal_complaints(void);
[[gnu::format(printf, 1, 2)]] void journal_note(const char *format, ...); /* `NOTE ...` */
[[gnu::format(printf, 1, 2)]] void journal_trace(const char *format, ...);
bool journal_tracing(void);

#endif
