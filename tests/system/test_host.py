# SPDX-License-Identifier: BSD-2-Clause
"""The host side of the CPU code: clock, timers, CPUs; and what a fault of the hypervisor's own shows.

The image is the hypervisor with tests/system/host/ in place of its main.
"""
import os
import re
import unittest

import sluice

BUILD = os.environ.get("SLUICE_BUILD", "build")

CONFIG = """[hypervisor]
image = host-test.elf
iommu = optional
when-done = reboot
[host]
memory = 2M
cpus = 0
kernel = demo.elf
cmdline = {}
[spin1]
memory = 4M
cpus = 1
kernel = mini.elf
cmdline = calls=4000000000
[spin2]
memory = 4M
cpus = 2
kernel = mini.elf
cmdline = calls=4000000000
"""

# fault: expressions that must all be found, in this order. Numbers of CPUs: the machine has three.
FAULTS = {
    "divide": [r"divide error \(vector 0\) on CPU 0", r"rip ffffffff8\w+", r"trace: ffffffff8\w+ +image"],
    "null": [r"page fault .* on CPU 0", r"read of 0x0: no page there"],
    "identity": [r"page fault .* on CPU 0", r"read of 0x\w+: no page there"],
    "overflow": [r"double fault .* on CPU 0", r"stack overflow: .* CPU 0's main stack", r"trace: .*image"],
    "write-code": [r"page fault", r"write of 0xffffffff80000000: not allowed"],
    "write-constants": [r"page fault", r"write of 0xffffffff80\w+: not allowed"],
    "write-code-by-direct-map": [r"page fault", r"write of 0xffff8000\w+: not allowed"],
    "run-data": [r"page fault", r"fetch of 0xffffffff80\w+: not allowed"],
    "run-direct-map": [r"page fault", r"fetch of 0xffff8000\w+: not allowed"],
    "assert": [r"panic: .*host_main.c:\d+: zero == 1 \(CPU 0\)", r"trace: ffffffff8\w+ +image"],
    "assert-beside-guests": [r"\[spin1\]", r"panic: .*zero == 1 \(CPU 0\)", r"trace: .*image"],
    "machine-check": [r"machine check \(vector 18\) on CPU 0", r"mce: CPU 0: global status",
                      r"bank 1: status b400000000000136 address 1234000"],
    "undefined-elsewhere": [r"invalid opcode \(vector 6\) on CPU 2", r"trace: .*image"],
    "overflow-elsewhere": [r"double fault .* on CPU 2", r"stack overflow: .* CPU 2's main stack"],
}


class TestHost(unittest.TestCase):
    def boot(self, cmdline="", **machine):
        config = CONFIG.format(cmdline) if cmdline else CONFIG.replace("cmdline = {}\n", "")
        r = sluice.boot(BUILD, config, [(f"{BUILD}/tests/host-test.elf", "host-test.elf")], cpus=3,
                        devices=False, shim=False, timeout=60, **machine)
        self.assertFalse(r.timed_out, sluice.describe(r))
        self.assertNotIn("does not stop", r.serial, sluice.describe(r))
        return r

    def checks(self, **machine):
        r = self.boot(**machine)
        tests = sluice.guest_tests(r.lines, "host")
        self.assertIn("end", [name for name, _, _ in tests], sluice.describe(r))
        for name, good, text in tests:
            with self.subTest(name):
                self.assertTrue(good, text)
        return r

    def test_checks(self):
        r = self.checks()
        self.assertIn("[raw] a?[2Jb?c", r.lines)
        cut = [line for line in r.lines if "host: 0000" in line]
        self.assertEqual([len(line) < 250 and "|" not in line for line in cut], [True])

    def test_checks_by_instruction_count(self):
        self.checks(icount=True)

    def test_nmi_that_nobody_asked_for(self):
        r = self.boot("nmi")
        self.assertEqual([(name, good) for name, good, _ in sluice.guest_tests(r.lines, "host")],
                         [("nmi-counted", True), ("nmi-guests-go-on", True)], sluice.describe(r))
        lines = [line for line in r.lines if "that nobody asked for" in line]
        self.assertIn(len(lines), range(1, 21), sluice.describe(r))  # of 80

    def test_cpu_that_does_not_come(self):
        r = self.boot("absent-cpu")
        self.assertIn("CPU 3 (APIC id 200) did not start", r.serial)
        self.assertIn("@test absent-cpu ok", r.serial)

    def test_faults(self):
        for fault, wanted in FAULTS.items():
            with self.subTest(fault):
                r = self.boot(fault)
                report = "\n".join(r.lines)
                self.assertNotIn("survived", report)
                for expression in [*wanted, r"panic: stopped; resetting"]:
                    found = re.search(expression, report)
                    self.assertTrue(found, f"{expression}\n{sluice.describe(r)}")
                    report = report[found.end():]
