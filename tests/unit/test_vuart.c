/* SPDX-License-Identifier: BSD-2-Clause */
/* build: arch/x86/vuart.c */
/* The guest's serial port: lines to the log, and what drivers probe. */
#include <string.h>

#include "arch/x86/vuart.h"
#include "hv/vm.h"
#include "tests/platform/platform.h"

static struct vuart uart;
static struct vm vm = { .name = "alpha", .vuart = &uart };

static int fresh(void **state)
{
    uart = (struct vuart){ 0 };
    return platform_fresh(state);
}

static void send(const char *text)
{
    for (; *text; text++)
        vuart_write(&vm, 0, (uint8_t)*text);
}

static unsigned lines(void)
{
    unsigned n = 0;

    for (const char *p = platform_log(); (p = strstr(p, "alpha")); p++)
        n++;
    return n;
}

static void a_line_at_its_end(void **)
{
    send("hello");
    assert_false(platform_logged("hello"));
    send(" there\r\n");
    assert_true(platform_logged("hello there"));
    assert_false(platform_logged("there."));
    assert_int_equal(lines(), 1);
    send("\n"); /* nothing to say */
    assert_int_equal(lines(), 1);
    send("rest");
    vuart_flush(&vm);
    assert_true(platform_logged("rest"));
    vuart_flush(&vm);
    assert_int_equal(lines(), 2);
}

static void long_and_odd_bytes(void **)
{
    for (unsigned i = 0; i < 3 * sizeof(uart.line); i++)
        send("x");
    assert_int_equal(lines(), 3);
    send("a\x1b[2Jb\n"); /* no escape sequence reaches the terminal */
    assert_true(platform_logged("a.[2Jb"));
}

static void transmitter_always_ready(void **)
{
    assert_int_equal(vuart_read(&vm, 5), 0x60);
    assert_int_equal(vuart_read(&vm, 0), 0);
    assert_int_equal(vuart_read(&vm, 2), 0x01); /* no interrupt */
}

/* What drivers write to tell a 16550A from nothing. */
static void probing(void **)
{
    vuart_write(&vm, 7, 0x5a);
    assert_int_equal(vuart_read(&vm, 7), 0x5a);
    vuart_write(&vm, 1, 0xff);
    assert_int_equal(vuart_read(&vm, 1), 0x0f);
    vuart_write(&vm, 2, 0x01);
    assert_int_equal(vuart_read(&vm, 2), 0xc1);
    vuart_write(&vm, 4, 0x1a); /* loop back, RTS, OUT2 */
    assert_int_equal(vuart_read(&vm, 6) & 0xf0, 0x90);
    send("not sent\n");
    assert_false(platform_logged("not sent"));
    vuart_write(&vm, 4, 0x03);
    assert_int_equal(vuart_read(&vm, 6), 0xb0);
}

static void divisor_hides_data(void **)
{
    vuart_write(&vm, 1, 5);
    vuart_write(&vm, 3, 0x83);
    send("\x0c");
    vuart_write(&vm, 1, 0x01);
    assert_int_equal(vuart_read(&vm, 0), 0x0c);
    assert_int_equal(vuart_read(&vm, 1), 0x01);
    vuart_write(&vm, 3, 0x03);
    assert_int_equal(vuart_read(&vm, 1), 5);
    vuart_flush(&vm);
    assert_int_equal(lines(), 0);
}

#define t(f) cmocka_unit_test_setup_teardown(f, fresh, platform_check)

int main(void)
{
    const struct CMUnitTest tests[] = {
        t(a_line_at_its_end), t(long_and_odd_bytes), t(transmitter_always_ready),
        t(probing),           t(divisor_hides_data),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
