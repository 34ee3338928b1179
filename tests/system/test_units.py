# SPDX-License-Identifier: BSD-2-Clause
"""Sluice on QEMU's own VT-d unit, in each of its modes, with QEMU's devices as sources of DMA."""
import os
import re
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

import sluice

BUILD = os.environ.get("SLUICE_BUILD", "build")

CONFIG = """[hypervisor]
memory = 16M
when-done = reboot
[units]
memory = 32M @ 0x8000000
cpus = 0,2
kernel = units.elf
pci = {pci}
cmdline = host=0x8000000 beyond=0x2000000 foreign=0xc000000
[watch]
memory = 4M @ 0xc000000
cpus = 1
kernel = units.elf
pci = 00:0a.0
cmdline = watch
"""

# The mode as Sluice tells it, and QEMU's options for it.
MODES = {
    "legacy": ("legacy mode", "intremap=on"),
    "legacy, 8-bit APIC ids": ("legacy mode", "intremap=on,eim=off"),
    "legacy, no interrupt remapping": ("legacy mode", "intremap=off"),
    "legacy, 3 levels, caching mode": ("legacy mode", "intremap=on,aw-bits=39,caching-mode=on"),
    "legacy, device TLB": ("legacy mode", "intremap=on,device-iotlb=on"),
    "second stage": ("scalable mode, second stage only", "intremap=on,scalable-mode=on"),
    "second stage, device TLB, caching mode, snoop control":
        ("scalable mode, second stage only",
         "intremap=on,scalable-mode=on,device-iotlb=on,caching-mode=on,snoop-control=on"),
    "first stage": ("scalable mode, first-stage format only", "intremap=on,scalable-mode=on,fsts=on"),
    "first stage, device TLB, PASID, page requests, no 1G":
        ("scalable mode, first-stage format only",
         "intremap=on,scalable-mode=on,fsts=on,svm=on,pasid-bits=8,device-iotlb=on,fs1gp=off"),
}
# Function and QEMU's options. ATS needs a PCIe device, which virtio is behind a root port only.
DEVICES = {
    "edu": ("00:03.0", ["edu,addr=03.0"]),
    "iommu-testdev": ("00:04.0", ["iommu-testdev,addr=04.0"]),
    "nvme": ("00:05.0", ["nvme,serial=1,drive=nvm,addr=05.0"]),
    "virtio-rng": ("01:00.0", ["pcie-root-port,id=root1,addr=09.0",
                               "virtio-rng-pci,bus=root1,disable-legacy=on,iommu_platform=on,ats=on"]),
    "e1000e": ("00:06.0", ["e1000e,romfile=,addr=06.0"]),
}
WATCH = ["-device", "edu,addr=0a.0"]  # of the VM that must not notice


DOCUMENT = "docs/units.md"
HEAD = """# Units that Sluice was run on

Written by `make test-units` when all of it passed; do not edit. How a unit is used, and what then works, is
decided by its capabilities (`drivers/iommu/vtd/caps.c`); the log names the mode and what is missing.

| mode | unit has | DMA in guest physical | bind, NESTED |
|---|---|---|---|
| nested | SMTS, SSTS, FSTS, NEST | second stage | hardware nesting |
| second stage | SMTS, SSTS | second stage | by shadow, in second-stage format |
| first stage | SMTS, FSTS | first-stage format | by shadow, in first-stage format |
| legacy | anything else with a second-stage depth | second stage, no PASID | refused: HV_ENOTSUP |

## Booted on QEMU's intel-iommu

A guest drives QEMU's devices (`guest/units/`): blocked at start, IDENTITY, data compared both ways (a disk written
and read, frames sent and received), PAGING, memory that is not its own refused with an event, blocked again. Then
their interrupts, by MSI (edu) and MSI-X (nvme, virtio-rng, e1000e): each arrives as often as it is raised, at the vCPU and
vector asked for; not while masked, disabled or off; and messages that are not the device's own raise nothing, here or
in a second VM that counts its own. The numbers are steps that passed.

QEMU 11.1 does less than a unit has to (5.1.4): it lets messages of compatibility format pass although they are off, and
does not know who sent a message that a device wrote by DMA, but for iommu-testdev. Both are tested in the model.

"""
MODEL = """
## On the host, in the model

Each kind of unit goes through attach, DMA with data compared, changes of tables under device TLBs, faults,
replacement, block and removal (`tests/unit/test_vtd_units.c`), without a complaint of the model. The
numbers are units that had the capability.

"""


def write(text):
    with open(DOCUMENT, encoding="utf-8") as f:
        if f.read() == text:
            return
    with open(DOCUMENT, "w", encoding="utf-8") as f:
        f.write(text)


class Until:
    """The units VM has ended, and the other one looked twice since."""

    def __init__(self):
        self.looks = None

    def __call__(self, line):
        if "vm: units: ended" in line:
            self.looks = 0
        elif self.looks is not None and line.startswith("[watch] @watch "):
            self.looks += 1
        return self.looks == 2


class TestUnits(unittest.TestCase):
    def boot(self, options, devices=DEVICES, **machine):
        with tempfile.NamedTemporaryFile(prefix="sluice-nvme-") as disk:
            disk.truncate(1 << 20)
            qemu = ["-device", f"intel-iommu,{options}",
                    "-drive", f"if=none,id=nvm,format=raw,file={disk.name}", *WATCH]
            unit = options
            for _, options in devices.values():
                qemu += [word for device in options for word in ("-device", device)]
            config = CONFIG.format(pci=",".join(rid for rid, _ in devices.values()))
            if "intremap=on" not in unit:  # each function has to be admitted by name
                config = re.sub(r"(\d\d:\w\w\.\d)", r"\1 interrupts=any", config)
            return sluice.boot(BUILD, config, devices=False, shim=False, timeout=120, qemu=qemu,
                               cpus=3, until=Until(), **machine)

    def guest(self, r):
        """The names of the steps, all of which passed."""
        tests = sluice.guest_tests(r.lines, "units")
        self.assertEqual([text for _, good, text in tests if not good], [], sluice.describe(r))
        self.assertEqual(sluice.ended(r.lines, "units"), "shutdown code 0", sluice.describe(r))
        self.assertFalse(r.timed_out, sluice.describe(r))
        return [name for name, _, _ in tests]

    def unnoticed(self, r, interrupts):
        """The VM beside got its own interrupts, each once, and no other."""
        told = [t.split() for _, t in sluice.guest_lines(r.lines, "watch") if t.startswith("@watch ")]
        own, raised, strays = (int(n) for n in told[-1][1:])
        self.assertEqual((own, strays), (raised, 0), sluice.describe(r))
        self.assertEqual(own > 5, interrupts, sluice.describe(r))

    def one_mode(self, r, told, options):
        """{device: steps that passed}, on a unit on which all of them did."""
        interrupts = "intremap=on" in options
        self.assertRegex(r.serial, f"vtd0: {told}", sluice.describe(r))
        names = self.guest(r)
        self.unnoticed(r, interrupts)
        steps = {d: sum(name.startswith(d + "_") for name in names) for d in DEVICES}
        self.assertGreater(min(steps.values()), 12, sluice.describe(r))
        self.assertEqual(sum(name.endswith("_message_no_stray") for name in names),
                         4 if interrupts else 0, sluice.describe(r))
        ats = re.search(r"virtio-rng, unit 0, not nested, ATS", r.serial)
        self.assertEqual(bool(ats), "device-iotlb=on" in options, sluice.describe(r))
        return steps

    def test_units(self):
        rows = ["| unit | options | " + " | ".join(DEVICES) + " |", "|---" * (2 + len(DEVICES)) + "|"]
        with ThreadPoolExecutor(2) as pool:  # much of a run is waiting
            runs = pool.map(lambda mode: self.boot(mode[1]), MODES.values())
            for (name, (told, options)), r in zip(MODES.items(), runs):
                with self.subTest(name):
                    steps = self.one_mode(r, told, options)
                    rows.append(f"| {name} | `{options}` | "
                                + " | ".join(str(n) for n in steps.values()) + " |")
        model = subprocess.run([f"{BUILD}/tests/unit/test_vtd_units"], capture_output=True, text=True)
        self.assertEqual(model.returncode, 0, model.stderr)
        if len(rows) == 2 + len(MODES):
            table = [line for line in model.stdout.splitlines() if line.startswith("|")]
            write(HEAD + "\n".join(rows) + "\n" + MODEL + "\n".join(table) + "\n")
