# SPDX-License-Identifier: BSD-2-Clause
"""Sluice with QEMU's devices behind bridges: who shares a requester id, who has to have one owner. And
with memory that firmware goes on using through a device."""
import os
import unittest

import sluice

BUILD = os.environ.get("SLUICE_BUILD", "build")

HEAD = """[hypervisor]
memory = 16M
when-done = reboot
"""
UNITS = """[units]
memory = 32M @ 0x8000000
cpus = 0,2
kernel = units.elf
pci = {pci}
cmdline = host=0x8000000 beyond=0x2000000 foreign=0xc000000
"""
OTHER = """[other]
memory = 32M
cpus = 1
kernel = suite.elf
pci = {pci}
"""

# A bridge of each kind; what is behind it carries function 0 of device 0 of bus 1, or the bridge's id.
BRIDGES = {"PCIe to PCI": "pcie-pci-bridge", "without PCIe": "i82801b11-bridge"}
UNIT = {"legacy mode": "intel-iommu,intremap=on",
        "second stage only": "intel-iommu,intremap=on,scalable-mode=on",
        "first-stage format only": "intel-iommu,intremap=on,scalable-mode=on,fsts=on"}


class TestTopology(unittest.TestCase):
    def boot(self, config, devices):
        return sluice.boot(BUILD, HEAD + config, devices=False, shim=False, timeout=120, cpus=3,
                           qemu=[word for d in devices for word in ("-device", d)])

    def driven(self, unit, bridge):
        """edu behind the bridge, with a neighbour that nobody has, does all that it should."""
        r = self.boot(UNITS.format(pci="01:01.0"),
                      [unit, f"{bridge},id=bridge,addr=09.0", "edu,bus=bridge,addr=01.0",
                       "edu,bus=bridge,addr=02.0"])
        tests = sluice.guest_tests(r.lines, "units")
        self.assertEqual([text for _, good, text in tests if not good], [], sluice.describe(r))
        self.assertGreater(sum(name.startswith("edu_") for name, _, _ in tests), 12, sluice.describe(r))
        self.assertEqual(sluice.ended(r.lines, "units"), "shutdown code 0", sluice.describe(r))
        self.assertFalse(r.timed_out, sluice.describe(r))

    def test_behind_a_bridge_to_conventional_pci(self):
        for kind, bridge in BRIDGES.items():
            for mode, unit in UNIT.items():
                with self.subTest(f"{kind}, {mode}"):
                    self.driven(unit, bridge)

    def refused(self, config, devices, text):
        r = self.boot(config, devices)
        self.assertRegex(r.serial, text, sluice.describe(r))
        self.assertNotRegex(r.serial, r"guests start", sluice.describe(r))
        self.assertFalse(r.timed_out, sluice.describe(r))

    def test_one_owner_behind_a_bridge(self):
        self.refused(UNITS.format(pci="01:01.0") + OTHER.format(pci="01:02.0"),
                     [UNIT["legacy mode"], "pcie-pci-bridge,id=bridge,addr=09.0",
                      "edu,bus=bridge,addr=01.0", "edu,bus=bridge,addr=02.0"],
                     r"function 01:02\.0 cannot be kept apart from 01:01\.0 of another VM")

    def test_one_owner_of_a_device_without_acs(self):
        self.refused(UNITS.format(pci="00:09.0") + OTHER.format(pci="00:09.1"),
                     [UNIT["legacy mode"], "edu,addr=09.0,multifunction=on", "edu,addr=09.1"],
                     r"function 00:09\.1 cannot be kept apart from 00:09\.0 of another VM")


class TestFirmwareMemory(unittest.TestCase):
    """The shim's RMRR for 00:04.0 (tests/model/shim/shim.h), within memory that it keeps reserved."""

    FIRST, BYTES = 0x7001000, 0x2000

    def boot(self, pci):
        cmdline = f"firmware={self.FIRST:#x} firmware-bytes={self.BYTES:#x} host="
        return sluice.boot(BUILD, HEAD + UNITS.format(pci=pci).replace("host=", cmdline), cpus=3,
                           timeout=120, shim_options="rmrr")

    def test_refused_by_name(self):
        r = self.boot("00:04.0")
        self.assertIn("DMAR installed with an RMRR", r.serial, sluice.describe(r))
        self.assertRegex(
            r.serial, f"vm units, line 8: firmware uses memory {self.FIRST:#x}-"
            f"{self.FIRST + self.BYTES - 1:#x} through function 00:04\\.0 \\(RMRR\\): .*rmrr=map",
            sluice.describe(r))
        self.assertFalse(list(sluice.guest_lines(r.lines)), sluice.describe(r))
        self.assertFalse(r.timed_out, sluice.describe(r))

    def test_mapped(self):
        """Its device reaches it under IDENTITY and in an IOAS, not under BLOCKED, and nothing beside."""
        r = self.boot("00:04.0 rmrr=map")
        tests = sluice.guest_tests(r.lines, "units")
        self.assertEqual([text for _, good, text in tests if not good], [], sluice.describe(r))
        self.assertLessEqual(
            {f"accelerator_firmware_{step}"
             for step in ("told", "blocked", "found", "written", "below", "beyond")},
            {name for name, _, _ in tests}, sluice.describe(r))
        self.assertEqual(sluice.ended(r.lines, "units"), "shutdown code 0", sluice.describe(r))
        self.assertEqual(r.complaints, [], sluice.describe(r))
        self.assertFalse(r.timed_out, sluice.describe(r))

    def test_of_another_function(self):
        """The neighbour needs no permission, and does not reach it."""
        r = self.boot("00:05.0")
        good = {name.removeprefix("accelerator_"): good
                for name, good, _ in sluice.guest_tests(r.lines, "units")}
        wrong = {name for name in good if not good[name]}
        self.assertEqual(wrong, {"firmware_told", "firmware_found", "firmware_written"},
                         sluice.describe(r))
        self.assertEqual(r.complaints, [], sluice.describe(r))
        self.assertFalse(r.timed_out, sluice.describe(r))
