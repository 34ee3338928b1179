# SPDX-License-Identifier: BSD-2-Clause
"""Virtual CPUs without any device: guest/mini tests its own from within, and ends in every way."""
import os
import unittest

import sluice

BUILD = os.environ.get("SLUICE_BUILD", "build")

HEAD = """[hypervisor]
memory = 16M
iommu = optional
when-done = reboot
"""


def vm(name, base, cpus, cmdline):
    return (f"[{name}]\nmemory = 32M @ {base}\ncpus = {cpus}\nkernel = mini.elf\n"
            + (f"cmdline = {cmdline}\n" if cmdline else ""))


class TestVcpu(unittest.TestCase):
    def boot(self, guests, **machine):
        """guests: [(cpus, command line)]; all checks of all of them hold."""
        names = ["alpha", "beta"][:len(guests)]
        config = HEAD + "".join(vm(name, base, *guest) for name, base, guest
                                in zip(names, ["0x8000000", "0xa000000"], guests))
        r = sluice.boot(BUILD, config, shim=False, devices=False, timeout=100, **machine)
        for name in names:
            tests = sluice.guest_tests(r.lines, name)
            self.assertGreater(len(tests), 50, sluice.describe(r))
            self.assertEqual([text for _, good, text in tests if not good], [], sluice.describe(r))
        self.assertFalse(r.timed_out, sluice.describe(r))
        return [sluice.ended(r.lines, name) for name in names]

    def test_several_vcpus(self):
        self.assertEqual(self.boot([("0-3", "rounds=300")], cpus=4), ["shutdown code 0"])

    def test_two_guests_triple_fault(self):
        ends = self.boot([("0", "end=triple"), ("1", "")])
        self.assertEqual(ends, ["triple fault code 0", "shutdown code 0"])

    def test_fault_while_a_fault_is_delivered(self):
        self.assertEqual(self.boot([("0", "end=double"), ("1", "")]),
                         ["triple fault code 0", "shutdown code 0"])

    def test_reset_port(self):
        self.assertEqual(self.boot([("0", "end=reset"), ("1", "")]),
                         ["shutdown code 0", "shutdown code 0"])

    def test_shutdown_beside_a_vcpu_that_spins(self):
        self.assertEqual(self.boot([("0,1", "end=hang"), ("2", "")], cpus=3),
                         ["shutdown code 0", "shutdown code 0"])

    def test_same_with_every_instruction_counted(self):
        self.assertEqual(self.boot([("0", "calls=5")], cpus=1, icount=True), ["shutdown code 0"])
