# SPDX-License-Identifier: BSD-2-Clause
"""Sluice as a whole: the demonstration, the guest suite, guests that misbehave, wrong configurations."""
import os
import struct
import tempfile
import unittest

import qemu
import run
import sluice

BUILD = os.environ.get("SLUICE_BUILD", "build")
SEED = "seed=" + os.environ.get("SLUICE_SEED", "1")  # of storms of chance

HEAD = """[hypervisor]
memory = 16M
when-done = reboot
page-request-deadline = 2000
"""
DEMO = """[alpha]
memory = 32M @ 0x8000000
cpus = 0
kernel = demo.elf
pci = 00:04.0
cmdline = seed=1 other-guest=0xa000000 hypervisor=0x1d000000
"""


def vm(name, kernel, cpus, cmdline="", pci=""):
    text = f"[{name}]\nmemory = 32M @ 0xa000000\ncpus = {cpus}\nkernel = {kernel}\n"
    return text + (f"cmdline = {cmdline}\n" if cmdline else "") + (f"pci = {pci}\n" if pci else "")


class Boot(unittest.TestCase):
    def good_demo(self, r, guests):
        self.assertEqual(run.wrong_in(r, guests), [], sluice.describe(r))


class TestDemo(Boot):
    def test_demo(self):
        r = sluice.boot(BUILD, timeout=200)
        self.good_demo(r, ["alpha", "beta"])
        self.assertEqual(run.outside_pool(r, sluice.default_config()), "")

    def test_demo_from_usb_stick(self):
        self.good_demo(sluice.boot(BUILD, image_bus="usb", timeout=200), ["alpha", "beta"])

    def test_demo_after_protected_memory(self):
        """Firmware hands over with all memory protected from devices (PMEN)."""
        cap = qemu.print_config(BUILD)["cap"] | 3 << 5  # PLMR, PHMR
        r = sluice.boot(BUILD, sluice.default_config(), timeout=200, shim_options="protected",
                        server=["--unit-cap", hex(cap)])
        self.assertIn("protected memory ranges left on: yes", r.serial, sluice.describe(r))
        self.good_demo(r, ["alpha", "beta"])


class TestSuite(Boot):
    """The checks a guest makes from inside, each counted as a test of its own."""

    def suite(self, cpus, machine_cpus, end):
        r = sluice.boot(BUILD, HEAD + vm("suite", "suite.elf", cpus, end, "00:05.0"),
                        cpus=machine_cpus, timeout=120)
        tests = sluice.guest_tests(r.lines, "suite")
        self.assertGreater(len(tests), 15, sluice.describe(r))
        for name, good, text in tests:
            with self.subTest(name):
                self.assertTrue(good, text)
        return r

    def test_one_vcpu(self):
        r = self.suite("0", 1, "")
        self.assertEqual(sluice.ended(r.lines, "suite"), "shutdown code 0", sluice.describe(r))
        self.assertTrue(r.clean(), sluice.describe(r))

    def test_four_vcpus_then_triple_fault(self):
        r = self.suite("0-3", 4, "end=triple")
        self.assertEqual(sluice.ended(r.lines, "suite"), "triple fault code 0", sluice.describe(r))
        self.assertFalse(r.timed_out, sluice.describe(r))


class TestHostile(Boot):
    """A guest and a device that misbehave beside the demonstration, which must not notice."""

    def beside(self, mode, complaints=False, cpus="1", machine_cpus=2, **machine):
        config = HEAD + DEMO + vm("bad", "hostile.elf", cpus, f"mode={mode} {SEED}", "00:05.0")
        r = sluice.boot(BUILD, config, timeout=200, cpus=machine_cpus, **machine)
        if complaints:  # the device itself was told to break rules
            r.complaints = [c for c in r.complaints if "accel-b" not in c]
        self.good_demo(r, ["alpha"])
        self.assertEqual(sluice.ended(r.lines, "bad"), "shutdown code 0", sluice.describe(r))

    def test_never_answers(self):
        self.beside("silent")

    def test_broken_ring(self):
        self.beside("broken-ring")

    def test_device_ignores_invalidation(self):
        self.beside("no-invalidation", complaints=True)

    def test_page_request_flood(self):
        self.beside("flood", complaints=True)

    def test_wrong_pasid(self):
        self.beside("wrong-pasid", complaints=True)

    def test_group_without_end(self):
        self.beside("never-last", complaints=True)

    def test_device_resets(self):
        self.beside("resets")

    def test_device_vanishes(self):
        self.beside("vanishes")

    def test_messages_of_chance(self):
        self.beside("interrupts")

    def test_calls_of_chance(self):
        self.beside("calls")

    def test_commands_of_chance(self):
        self.beside("commands")

    def test_fault_flood(self):
        """On a unit that has a place for one fault, and so loses many of them."""
        cap = qemu.print_config(BUILD)["cap"] & ~(0xFF << 40)
        self.beside("faults", server=["--unit-cap", hex(cap)])

    def test_tables_that_change(self):
        self.beside("tables")

    def test_tables_that_change_under_a_shadow(self):
        ecap = qemu.print_config(BUILD)["ecap"] & ~(1 << 26)  # NEST
        self.beside("tables", server=["--unit-ecap", hex(ecap)])

    def test_another_vcpu_races(self):
        self.beside("race", cpus="1,2", machine_cpus=3)

    def test_triple_fault_beside(self):
        r = sluice.boot(BUILD, HEAD + DEMO + vm("bad", "suite.elf", "1", "end=triple", "00:05.0"),
                        timeout=200)
        self.good_demo(r, ["alpha"])
        self.assertEqual(sluice.ended(r.lines, "bad"), "triple fault code 0", sluice.describe(r))


# (what, configuration, line, words of the message)
LOADER_REFUSES = [
    ("unknown key", HEAD + "memroy = 1M\n", 5, "unknown key memroy"),
    ("missing file", HEAD + vm("a", "nothing.elf", "0"), 8, "cannot be loaded: nothing.elf"),
    ("memory that is not there", HEAD + "[a]\nmemory = 64G\ncpus = 0\nkernel = demo.elf\n", 6,
     "no free piece of RAM"),
    ("a place that is taken", HEAD + "[a]\nmemory = 2M @ 0x40000000000\ncpus = 0\nkernel = demo.elf\n",
     6, "not free RAM"),
    ("overlapping memory", HEAD + vm("a", "demo.elf", "0") + vm("b", "demo.elf", "1"), 10, "overlaps"),
    ("absent function", HEAD + vm("a", "demo.elf", "0", pci="00:1e.0"), 9, "no such PCI function"),
    ("function twice", HEAD + vm("a", "demo.elf", "0", pci="00:04.0,00:04.0"), 9, "named twice"),
    ("absent CPU", HEAD + vm("a", "demo.elf", "17"), 7, "no such CPU"),
]
# The hypervisor finds these; also before any guest runs. (what, configuration, line, words)
HYPERVISOR_REFUSES = [
    ("kernel without a PVH note", HEAD + vm("a", "noteless.elf", "0"), 5, "PVH"),
    ("kernel linked outside the VM's memory", HEAD + vm("a", "sluice.elf", "0"), 5, "segments"),
    ("kernel that is no ELF image", HEAD + vm("a", "sluice.cfg", "0"), 5, "ELF"),
    ("a good VM before the bad one", HEAD + DEMO + vm("b", "noteless.elf", "1"), 11, "PVH"),
    ("the unit's own function", HEAD + vm("a", "demo.elf", "0", pci="00:02.0"), 9, "00:02.0"),
]


def without_note(kernel):
    """The ELF-64 image @kernel with its PT_NOTE headers made PT_NULL."""
    image = bytearray(kernel)
    phoff, = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    for at in range(phoff, phoff + size * count, size):
        if struct.unpack_from("<I", image, at)[0] == 4:
            struct.pack_into("<I", image, at, 0)
    return bytes(image)


class TestConfiguration(Boot):
    def refused(self, config, until, **machine):
        r = sluice.boot(BUILD, config, devices=False, shim=False, until=until, timeout=60, **machine)
        self.assertIn(until, r.serial, sluice.describe(r))
        self.assertNotIn("guest ", r.serial)
        return r

    def test_loader_refuses(self):
        for what, config, line, words in LOADER_REFUSES:
            with self.subTest(what):
                r = self.refused(config, "Nothing was started")
                said = [l for l in r.lines if l.startswith(f"\\sluice\\sluice.cfg:{line}: ")]
                self.assertEqual(len(said), 1, sluice.describe(r))
                self.assertIn(words, said[0])

    def test_hypervisor_refuses(self):
        kernel = tempfile.NamedTemporaryFile(suffix=".elf")
        self.addCleanup(kernel.close)
        with open(f"{BUILD}/guests/demo.elf", "rb") as f:
            kernel.write(without_note(f.read()))
        kernel.flush()
        for what, config, line, words in HYPERVISOR_REFUSES:
            with self.subTest(what):
                r = sluice.boot(BUILD, config, extra=[(kernel.name, "noteless.elf")], timeout=60)
                said = [l for l in r.lines if f"line {line}: " in l and words in l]
                self.assertNotEqual(said, [], sluice.describe(r))
                self.assertFalse(list(sluice.guest_lines(r.lines)), sluice.describe(r))
                self.assertFalse(r.timed_out, sluice.describe(r))

    def test_bad_dmar(self):
        """Tables of firmware that do not hold together: named, and nothing starts."""
        unit = struct.pack("<HHBBHQ", 0, 16, 0, 2, 0, 0xFED90000)  # four pages
        for what, body, words in (
                ("structure without length", unit + bytes(4), "structure length at offset 64"),
                ("scope longer than its unit",
                 struct.pack("<HHBBHQ", 0, 24, 0, 0, 0, 0xFED90000) + bytes([1, 9, 0, 0, 0, 0, 3, 0]),
                 "device scope length at offset 64"),
                ("overlapping units", unit + struct.pack("<HHBBHQ", 0, 16, 1, 0, 0, 0xFED93000),
                 "overlapping units at offset 64")):
            with self.subTest(what), tempfile.NamedTemporaryFile() as table:
                table.write(bytes([38, 1]) + bytes(10) + body)
                table.flush()
                r = sluice.boot(BUILD, HEAD + vm("a", "suite.elf", "0"), devices=False, shim=False,
                                timeout=60, qemu=["-acpitable", f"sig=DMAR,data={table.name}"])
                self.assertIn("DMAR table: " + words, r.serial, sluice.describe(r))
                self.assertFalse(list(sluice.guest_lines(r.lines)), sluice.describe(r))
                self.assertFalse(r.timed_out, sluice.describe(r))

    def test_without_unit(self):
        r = sluice.boot(BUILD, HEAD + vm("a", "suite.elf", "0"), devices=False, shim=False, timeout=60)
        self.assertNotIn("@test", r.serial, sluice.describe(r))
        self.assertIn("iommu", r.serial, sluice.describe(r))
