/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * device-server: the test machine's devices for an unmodified QEMU. Options, and the loop that
 * serves the sockets and lets the devices work in between. docs/test-machine.md describes the use.
 * Exit code: 0; 1 it could not start; 2 usage; 3 software broke a rule (see the log).
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/model/server/journal.h"
#include "tests/model/server/machine.h"

static volatile sig_atomic_t stopping;
static struct machine machine;

static const char usage[] =
    "usage: device-server [options] --unit SOCKET --accel name=N,rid=BB:DD.F,socket=PATH ...\n"
    "  --log FILE          complaints and notes (standard error)\n"
    "  --stats FILE        `key value` lines at exit (standard output)\n"
    "  --once              end when the last client has left\n"
    "  --sync              finish all work before a write is answered\n"
    "  --trace             every access, message and answer in the log\n"
    "  --mischief BITS     MISCHIEF bits of the accelerators that follow\n"
    "  --slow N            commands of the unit need N status reads\n"
    "  --seed N            choices that the specification leaves open\n"
    "  --no-cache          the unit caches nothing beyond what it must\n"
    "  --haw N --unit-version V --unit-cap V --unit-ecap V    other than the full-featured unit\n"
    "  --print-config      show version, capabilities and address width, and end\n";

enum option_code {
    OPT_UNIT = 256,
    OPT_ACCEL,
    OPT_LOG,
    OPT_STATS,
    OPT_ONCE,
    OPT_SYNC,
    OPT_TRACE,
    OPT_MISCHIEF,
    OPT_SLOW,
    OPT_SEED,
    OPT_NO_CACHE,
    OPT_HAW,
    OPT_VERSION,
    OPT_CAP,
    OPT_ECAP,
    OPT_PRINT,
    OPT_HELP
};

static const struct option long_options[] = {
    { "unit", required_argument, NULL, OPT_UNIT },
    { "accel", required_argument, NULL, OPT_ACCEL },
    { "log", required_argument, NULL, OPT_LOG },
    { "stats", required_argument, NULL, OPT_STATS },
    { "once", no_argument, NULL, OPT_ONCE },
    { "sync", no_argument, NULL, OPT_SYNC },
    { "trace", no_argument, NULL, OPT_TRACE },
    { "mischief", required_argument, NULL, OPT_MISCHIEF },
    { "slow", required_argument, NULL, OPT_SLOW },
    { "seed", required_argument, NULL, OPT_SEED },
    { "no-cache", no_argument, NULL, OPT_NO_CACHE },
    { "haw", required_argument, NULL, OPT_HAW },
    { "unit-version", required_argument, NULL, OPT_VERSION },
    { "unit-cap", required_argument, NULL, OPT_CAP },
    { "unit-ecap", required_argument, NULL, OPT_ECAP },
    { "print-config", no_argument, NULL, OPT_PRINT },
    { "help", no_argument, NULL, OPT_HELP },
    { 0 },
};

struct options {
    const char *log, *stats;
    bool once, trace, print;
    uint64_t mischief;
};

static uint64_t number(const char *text, uint64_t max)
{
    char *end;
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 0);
    if (errno || end == text || *end || *text == '-' || value > max) {
        fprintf(stderr, "device-server: bad number '%s'\n", text);
        exit(2);
    }
    return value;
}

/* name=a,rid=00:04.0,socket=PATH, in any order; PATH holds no comma. */
static bool add_accel(char *text, uint64_t mischief)
{
    static char *const keys[] = { "name", "rid", "socket", NULL };
    char *value, *values[3] = { NULL }, tail;
    unsigned bus, device, function;

    for (char *at = text; *at;) {
        int key = getsubopt(&at, keys, &value);

        if (key < 0 || !value) {
            fprintf(stderr, "device-server: --accel: bad '%s'\n", value ? value : "");
            return false;
        }
        values[key] = value;
    }
    if (!values[0] || !values[1] || !values[2] ||
        sscanf(values[1], "%x:%x.%u%c", &bus, &device, &function, &tail) != 3 || bus > 0xff ||
        device > 0x1f || function > 7) {
        fprintf(stderr, "device-server: --accel needs name=, rid=BB:DD.F and socket=\n");
        return false;
    }
    return machine_add_accel(&machine, values[0], (uint16_t)(bus << 8 | device << 3 | function),
                             values[2], mischief);
}

static bool parse(int argc, char **argv, struct options *o)
{
    struct vtd_model_config *c = &machine.config;
    int code;

    while ((code = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (code) {
        case OPT_UNIT:
            if (!machine_add_unit(&machine, optarg))
                return false;
            break;
        case OPT_ACCEL:
            if (!add_accel(optarg, o->mischief))
                return false;
            break;
        case OPT_LOG: o->log = optarg; break;
        case OPT_STATS: o->stats = optarg; break;
        case OPT_ONCE: o->once = true; break;
        case OPT_SYNC: machine.sync = true; break;
        case OPT_TRACE: o->trace = true; break;
        case OPT_MISCHIEF: o->mischief = number(optarg, 0x7f); break;
        case OPT_SLOW: c->slow = (uint32_t)number(optarg, UINT32_MAX); break;
        case OPT_SEED: c->seed = number(optarg, UINT64_MAX); break;
        case OPT_NO_CACHE: c->cache_hard = false; break;
        case OPT_HAW: c->haw = (uint8_t)number(optarg, 52); break;
        case OPT_VERSION: c->version = (uint32_t)number(optarg, 0xff); break;
        case OPT_CAP: c->cap = number(optarg, UINT64_MAX); break;
        case OPT_ECAP: c->ecap = number(optarg, UINT64_MAX); break;
        case OPT_PRINT: o->print = true; break;
        case OPT_HELP: fputs(usage, stdout); exit(0);
        default: return false;
        }
    }
    return optind == argc && (o->print || machine.count > 0);
}

static void stop(int signal)
{
    (void)signal;
    stopping = 1;
}

/* Signals arrive only inside ppoll, so that none is missed between the check and the wait. */
static sigset_t catch_signals(void)
{
    struct sigaction action = { .sa_handler = stop };
    sigset_t blocked, during_wait;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &during_wait);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigdelset(&during_wait, SIGTERM);
    sigdelset(&during_wait, SIGINT);
    return during_wait;
}

static bool all_left(void)
{
    bool served = false;

    for (unsigned i = 0; i < machine.count; i++) {
        if (machine.functions[i].socket.client >= 0)
            return false;
        served |= machine.functions[i].socket.served;
    }
    return served;
}

/* Wait for input, at most `wait` (NULL: for ever), and serve what there is. */
static bool serve(const struct timespec *wait, const sigset_t *signals)
{
    struct pollfd polls[2 * MACHINE_FUNCTIONS];

    for (unsigned i = 0; i < machine.count; i++) {
        const struct vfio_user *v = &machine.functions[i].socket;

        polls[2 * i] = (struct pollfd){ .fd = v->listener, .events = POLLIN };
        polls[2 * i + 1] = (struct pollfd){ .fd = v->client, .events = POLLIN };
        if (vfio_user_wants_output(v))
            polls[2 * i + 1].events |= POLLOUT;
    }
    if (ppoll(polls, 2 * machine.count, wait, signals) < 0)
        return errno == EINTR;
    for (unsigned i = 0; i < machine.count; i++) {
        struct vfio_user *v = &machine.functions[i].socket;

        if (polls[2 * i + 1].revents & (POLLIN | POLLHUP | POLLERR))
            vfio_user_input(v);
        if (polls[2 * i].revents & POLLIN)
            vfio_user_accept(v);
    }
    return true;
}

static void loop(bool once)
{
    static const struct timespec now = { 0 }, later = { .tv_nsec = 100 * 1000 * 1000 };
    sigset_t signals = catch_signals();
    bool more = false;

    while (!stopping && !(once && all_left())) {
        bool clients = false;

        for (unsigned i = 0; i < machine.count; i++)
            clients |= machine.functions[i].socket.client >= 0;
        /* With a client but nothing to do, still look ten times a second: hardware has time. */
        if (!serve(more ? &now : clients ? &later : NULL, &signals))
            break;
        more = machine_run(&machine);
        for (unsigned i = 0; i < machine.count; i++)
            vfio_user_output(&machine.functions[i].socket);
    }
}

int main(int argc, char **argv)
{
    struct options o = { 0 };

    machine.config = vtd_model_default_config();
    if (!parse(argc, argv, &o)) {
        fputs(usage, stderr);
        return 2;
    }
    if (o.print) {
        printf("version 0x%x\ncap 0x%llx\necap 0x%llx\nhaw %u\n", machine.config.version,
               (unsigned long long)machine.config.cap, (unsigned long long)machine.config.ecap,
               machine.config.haw);
        return 0;
    }
    if (!journal_open(o.log, o.trace)) {
        perror(o.log);
        return 1;
    }
    if (!machine_start(&machine)) {
        machine_stop(&machine);
        return 1;
    }
    loop(o.once);

    FILE *stats = o.stats ? fopen(o.stats, "w") : stdout;

    if (stats) {
        machine_print_stats(&machine, stats);
        fflush(stats);
    } else {
        perror(o.stats);
    }
    machine_stop(&machine);
    return journal_complaints() ? 3 : 0;
}
