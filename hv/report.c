/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/report.h"

#include "hv/log.h"
#include "hv/pages.h"
#include "hv/platform.h"
#include "hv/vm.h"

static const char *const end_names[] = {
    [VM_END_SHUTDOWN] = "shutdown",
    [VM_END_TRIPLE_FAULT] = "triple fault",
    [VM_END_BAD_STATE] = "entry refused",
    [VM_END_ERROR] = "error",
};

static uint64_t boot_ticks, memory_bytes;

static void line(const char *who, const char *key, uint64_t value)
{
    log_info("report", "@hv %s %s %lu", who, key, (unsigned long)value);
}

void report_vm(const struct vm *vm)
{
    const struct hc_stats *s = &vm->stats;
    const struct {
        const char *key;
        uint64_t value;
    } lines[] = {
        { "end", vm->end },
        { "code", vm->end_code },
        { "exits", s->exits },
        { "hypercalls", s->hypercalls },
        { "commands", s->commands },
        { "page_requests", s->page_requests },
        { "answered", s->page_responses },
        { "answered_by_sluice", s->responses_by_sluice },
        { "lost", s->page_requests_lost },
        { "faults", s->faults },
        { "events_lost", s->events_lost },
        { "invalidations", s->invalidations },
        { "binds", s->binds },
        { "unbinds", s->unbinds },
        { "map_faults", s->map_faults_served },
        { "pages_leaked", vm->quota.used },
    };

    log_info("vm",
             "%s: ended: %s code %lu; exits %lu; page requests %lu, groups answered %lu, lost %lu; "
             "faults %lu",
             vm->name, end_names[vm->end], (unsigned long)vm->end_code, (unsigned long)s->exits,
             (unsigned long)s->page_requests, (unsigned long)s->page_responses,
             (unsigned long)s->page_requests_lost, (unsigned long)s->faults);
    for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
        line(vm->name, lines[i].key, lines[i].value);
}

void report_boot(uint64_t entered)
{
    boot_ticks = time_now() - entered;
    memory_bytes = pages_used() * PAGE_SIZE;
}

void report_machine(void)
{
    line("-", "boot_ticks", boot_ticks);
    line("-", "ticks_per_us", time_ticks_per_us());
    line("-", "memory_bytes", memory_bytes);
    line("-", "vms", nvms);
}
