/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log file. See journal.h.
 */
#include "tests/model/server/journal.h"

#include <stdarg.h>
#include <stdio.h>

static FILE *file;
static bool tracing;
static unsigned complaints;

bool journal_open(const char *path, bool trace)
{
    file = path ? fopen(path, "w") : stderr;
    tracing = trace;
    if (file)
        setvbuf(file, NULL, _IOLBF, BUFSIZ);
    return file != NULL;
}

void journal_complain(const char *who, const char *rule, const char *text)
{
    if (complaints++ < 1000)
        fprintf(file, "COMPLAINT %s %s: %s\n", who, rule, text);
}

unsigned journal_complaints(void)
{
    return complaints;
}

static void line(const char *kind, const char *format, va_list args)
{
    fputs(kind, file);
    vfprintf(file, format, args);
    fputc('\n', file);
}

void journal_note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    line("NOTE ", format, args);
    va_end(args);
}

bool journal_tracing(void)
{
    return tracing;
}

void journal_trace(const char *format, ...)
{
    va_list args;

    if (!tracing)
        return;
    va_start(args, format);
    line("TRACE ", format, args);
    va_end(args);
}
