#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""System tests of the test machine itself: shim, unit, accelerators and QEMU, without Sluice.

usage: [SLUICE_BUILD=DIR] test_machine.py [option of unittest]...
"""
import os
import subprocess
import tempfile
import unittest

import qemu

BUILD = os.environ.get("SLUICE_BUILD", "build")
SELFTEST = os.path.join(BUILD, "tests/selftest.efi")


class TestMachine(unittest.TestCase):
    def boot(self, **options):
        return qemu.run(qemu.Machine(build=BUILD, **{"loader": SELFTEST, **options}))

    def explain(self, r):
        return f"{r.serial}\n{r.qemu_log}\n{r.server_log}\nexit {r.exit_code} after {r.seconds:.1f} s"

    def assert_passed(self, r):
        self.assertTrue(r.clean(), self.explain(r))
        self.assertEqual(r.debug_exit, 0x10, self.explain(r))
        self.assertEqual(r.lines[-1], "PASS", self.explain(r))

    def values(self, r):
        found = {}
        for words in (line.split() for line in r.lines):
            if len(words) == 2 and words[1].startswith("0x"):
                found[words[0]] = int(words[1], 16)
        return found

    def test_selftest(self):
        r = self.boot()
        self.assert_passed(r)
        config, seen = qemu.print_config(BUILD), self.values(r)
        self.assertEqual((seen["unit.ver"], seen["unit.cap"], seen["unit.ecap"]),
                         (config["version"], config["cap"], config["ecap"]))
        self.assertEqual(seen["dmar.flags"], 1)
        self.assertGreaterEqual(seen["dmar.width"], 39)
        self.assertEqual(r.stats["accel-a.bytes"], 10000)
        self.assertEqual(r.stats["accel-a.interrupts"], 1)
        self.assertEqual(r.stats["unit.interrupts_refused"], 0)

    def test_icount_one_cpu_and_shim_options(self):
        r = self.boot(icount=True, cpus=1, timeout=120,
                      shim_options="no-intr-remap x2apic-opt-out")
        self.assert_passed(r)
        self.assertEqual(self.values(r)["dmar.flags"], 2)

    def test_unit_capabilities_can_be_chosen(self):
        config = qemu.print_config(BUILD)
        ecap = config["ecap"] & ~(1 << 26)  # NEST
        r = self.boot(server=["--unit-ecap", hex(ecap)])
        self.assert_passed(r)
        self.assertEqual(self.values(r)["unit.ecap"], ecap)

    def test_shim_starts_the_loader_of_an_image(self):
        with tempfile.TemporaryDirectory() as directory:
            image = f"{directory}/image"
            subprocess.run(["tools/mkimage", image, "--add", f"{SELFTEST}=EFI/BOOT/BOOTX64.EFI"],
                           check=True, stdout=subprocess.DEVNULL)
            for bus in ("virtio", "ide", "usb"):
                with self.subTest(bus):
                    r = self.boot(loader=None, image=image, image_bus=bus)
                    self.assert_passed(r)
                    self.assertIn("shim: starting the image's loader", r.serial)

    def test_without_devices(self):
        r = self.boot(devices=False)
        self.assertIn("shim: no remapping unit, no DMAR table", r.serial, self.explain(r))
        self.assertEqual(r.debug_exit, 0x11, self.explain(r))

    def test_timeout_leaves_nothing(self):
        r = self.boot(timeout=1)
        self.assertTrue(r.timed_out)
        self.assertFalse(r.clean())
        self.assertEqual(r.exit_code, -9)
        self.assertEqual(len(r.pids), 2)
        for pid in r.pids:
            self.assertRaises(ProcessLookupError, os.kill, pid, 0)


if __name__ == "__main__":
    unittest.main()
