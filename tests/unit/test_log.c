/* SPDX-License-Identifier: BSD-2-Clause */
/* build: hv/log.c hv/lock.c */
/*
 * The log and the lock themselves, on a machine of this file's own: what other tests use stands in
 * for both.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/lock.h"
#include "hv/log.h"
#include "hv/platform.h"

#define TICKS_PER_US 1000u
#define SECOND       (1000000ull * TICKS_PER_US)

static _Atomic uint64_t now = 1;
static char out[4096];
static size_t length;
static jmp_buf panicked;

/* What happens on another CPU while this one waits, or while it writes. */
static void (*instead_of_output)(const char *text, size_t n);
static void (*meanwhile)(void);
static void (*while_writing)(void);

uint64_t time_now(void)
{
    return now += TICKS_PER_US / 10;
}

uint64_t time_ticks_per_us(void)
{
    return TICKS_PER_US;
}

void cpu_relax(void)
{
    now += instead_of_output ? 1 : SECOND / 1000; /* threads wait long on a busy host */
    if (meanwhile)
        meanwhile();
    if (instead_of_output)
        sched_yield();
}

void console_write(const char *text, size_t n)
{
    if (instead_of_output) {
        instead_of_output(text, n);
        return;
    }
    assert_true(length + n < sizeof(out));
    memcpy(out + length, text, n);
    length += n;
    out[length] = 0;
    if (while_writing)
        while_writing();
}

void panic(const char *, ...)
{
    longjmp(panicked, 1);
}

static int fresh(void **)
{
    meanwhile = while_writing = NULL;
    length = 0;
    out[0] = 0;
    return 0;
}

/* --- Lines ------------------------------------------------------------------------------------ */

static void a_guest_does_not_steer_the_terminal(void **)
{
    static const char line[] = "\033[2J\rok\t\x7f\x9b\n.";

    log_guest("a", line, sizeof(line) - 1);
    assert_string_equal(out, "[a] ?[2J?ok\t???.\n");
}

static void long_lines_are_cut(void **)
{
    static char text[1000];

    memset(text, 'x', sizeof(text) - 1);
    log_guest("a", text, sizeof(text) - 1);
    assert_int_equal(length, 241);
    assert_int_equal(out[length - 1], '\n');
    length = 0;
    log_error("test", "%s", text);
    assert_true(length <= 241);
    assert_int_equal(out[length - 1], '\n');
    assert_null(memchr(out, '\n', length - 1));
}

static void a_place_says_how_many_it_kept_back(void **)
{
    struct log_limit limit = { 0 };
    unsigned allowed = 0;

    for (unsigned i = 0; i < 100; i++)
        allowed += log_allowed(&limit, 5);
    assert_int_equal(allowed, 5);
    now += 2 * SECOND;
    assert_true(log_allowed(&limit, 5));
    assert_non_null(strstr(out, "95 lines like the next were kept back"));
    assert_true(log_allowed(&limit, 5));
}

static unsigned asked;

static void ask(void)
{
    static struct log_limit limit;

    while_writing = NULL;
    for (unsigned i = 0; i < 10; i++)
        asked += log_allowed(&limit, 1);
}

/* One guest floods its console: another one's complaint that is not even written waits for nobody.
 */
static void who_is_kept_back_does_not_wait_for_the_console(void **)
{
    while_writing = ask;
    if (setjmp(panicked))
        fail_msg("waits for who writes");
    log_guest("flood", "x", 1);
    assert_int_equal(asked, 1);
}

enum { GUESTS = 8, LINES = 101 };

static _Atomic bool flooding;
static _Atomic unsigned guest_lines;

static void count_guests(const char *text, size_t)
{
    guest_lines += text[1] == 'g'; /* "[guest] ", where ours have the time */
    for (unsigned i = 0; i < 20; i++)
        sched_yield(); /* as slow as a serial port */
}

static void *flood(void *)
{
    while (flooding)
        log_guest("guest", "x", 1);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void a_line_of_ours_waits_for_one_guest(void **)
{
    pthread_t guest[GUESTS];
    int waited[LINES];

    instead_of_output = count_guests;
    flooding = true;
    for (unsigned i = 0; i < GUESTS; i++)
        assert_int_equal(pthread_create(&guest[i], NULL, flood, NULL), 0);
    while (guest_lines < 100)
        sched_yield();
    for (unsigned i = 0; i < LINES; i++) {
        unsigned before = guest_lines;
        log_error("hv", "ours");
        waited[i] = (int)(guest_lines - before);
        sched_yield();
    }
    flooding = false;
    for (unsigned i = 0; i < GUESTS; i++)
        pthread_join(guest[i], NULL);
    instead_of_output = NULL;
    /* The host may have stopped us for a while before we drew a number: most lines count. */
    qsort(waited, LINES, sizeof(waited[0]), by_value);
    assert_in_range(waited[LINES / 2], 0, 2);
}

/* --- Locks ------------------------------------------------------------------------------------ */

static struct lock lock;
static unsigned turns;

static void drop_at_last(void)
{
    if (--turns == 0)
        lock_drop(&lock);
}

/* Take a lock that is held, and that its holder drops after so many milliseconds. */
static bool take_after(enum lock_rank rank, unsigned milliseconds)
{
    lock = (struct lock)LOCK(rank);
    lock_take(&lock);
    turns = milliseconds;
    meanwhile = drop_at_last;
    if (setjmp(panicked))
        return false;
    lock_take(&lock);
    lock_drop(&lock);
    return true;
}

static void a_deadlock_is_told(void **)
{
    assert_true(take_after(RANK_QUEUE, 5000));
    assert_false(take_after(RANK_QUEUE, 30000));
}

/* How long a VM's locks are held is its own guest's doing, and its devices'. */
static void a_vm_may_wait_for_itself(void **)
{
    assert_true(take_after(RANK_VM, 60000));
    assert_true(take_after(RANK_FILL, 60000));
}

static void serve_the_next(void)
{
    if (++turns % 5000 == 0) /* five seconds each */
        lock_drop(&lock);
}

/* First come, first served: a long queue is no deadlock. */
static void a_long_queue_is_no_deadlock(void **)
{
    lock = (struct lock)LOCK(RANK_QUEUE);
    for (unsigned i = 0; i < 8; i++)
        atomic_fetch_add(&lock.next, 1); /* as many before us */
    turns = 0;
    meanwhile = serve_the_next;
    if (setjmp(panicked))
        fail_msg("panic while the queue moves");
    lock_take(&lock);
    assert_int_equal(turns / 5000, 8);
}

static void try_takes_what_is_free(void **)
{
    lock = (struct lock)LOCK(RANK_LOG);
    assert_true(lock_try(&lock));
    assert_false(lock_try(&lock));
    lock_drop(&lock);
    assert_true(lock_try(&lock));
}

int main(void)
{
#define log_test(f) cmocka_unit_test_setup(f, fresh)
    const struct CMUnitTest tests[] = {
        log_test(a_guest_does_not_steer_the_terminal),
        log_test(long_lines_are_cut),
        log_test(a_place_says_how_many_it_kept_back),
        log_test(who_is_kept_back_does_not_wait_for_the_console),
        log_test(a_line_of_ours_waits_for_one_guest),
        log_test(a_deadlock_is_told),
        log_test(a_vm_may_wait_for_itself),
        log_test(a_long_queue_is_no_deadlock),
        log_test(try_takes_what_is_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
