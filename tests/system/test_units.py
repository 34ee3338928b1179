# SPDX-License-Identifier: BSD-2-Clause
"""Sluice on QEMU's own VT-d unit, in each of its modes, with QEMU's devices as sources of DMA."""
import os
import re
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

import qemu
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
pci = {watch}
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




def bits(*numbers):
    return sum(1 << n for n in numbers)


# Capabilities by the names of the specification (11.4.2, 11.4.3): (CAP, ECAP).
SAGAW, MGAW, ND, NFR, LEAVES, PSI, RWBF, CM, ESRTPS, FS5LP = (
    (0x1F << 8, 0), (0x3F << 16, 0), (7, 0), (0xFF << 40, 0), (bits(34, 35, 56), 0), (bits(39), 0),
    (bits(4), 0), (bits(7), 0), (bits(62, 63), 0), (bits(60), 0))
C, SC, DT, IR, EIM, NEST, DIT, PASID, PRS, PDS, SMTS, SSTS, FSTS, SMPWCS, RPS = (
    (0, bits(n)) for n in (0, 7, 2, 3, 4, 26, 41, 40, 29, 42, 43, 46, 47, 48, 49))
PASID_BITS = (0, 0x1F << 35)
ATS = (DT, DIT, PRS, PDS)
NO_PASID = (PASID, PASID_BITS, PRS, PDS)
# All that belongs to scalable mode.
SCALABLE = (SMTS, SSTS, FSTS, NEST, DIT, *NO_PASID, SMPWCS, RPS, (0, bits(31, 33, 34, 45, 53, 58)))


def levels(which, width):
    return (which << 8 | (width - 1) << 16, 0)


THREE, FOUR, FIVE = levels(2, 39), levels(4, 48), levels(8, 57)
DEPTH = (SAGAW, MGAW)
# name: (the mode as Sluice tells it, capabilities that the full unit has and this one has not, others)
MODEL_UNITS = {
    "nested: everything": ("nested", (), ()),
    "nested: 3 levels, 4K leaves, contexts not snooped, one fault record":
        ("nested", (*DEPTH, LEAVES, C, NFR, ESRTPS), (THREE,)),
    "NEST, but page walks not snooped": ("second", (SMPWCS,), ()),
    "nested: 5 levels, CM, PASIDs of 8 bits, domain ids of 8 bits":
        ("nested", (*DEPTH, PASID_BITS, ND), (FIVE, CM, (2, 7 << 35))),
    "nested: no device TLB, no PSI, no interrupt remapping":
        ("nested", (*ATS, PSI, IR, EIM, FS5LP), ()),
    "nested: no PASIDs, 8-bit APIC ids": ("nested", (*NO_PASID, EIM, SC), ()),
    "second stage alone": ("second", (NEST, FSTS), ()),
    "second stage alone: 4K leaves, nothing snooped, no page requests":
        ("second", (NEST, FSTS, LEAVES, C, SMPWCS, PRS, PDS), ()),
    "both stages, no NEST: CM, 3 levels, one fault record":
        ("second", (NEST, *DEPTH, NFR), (THREE, CM)),
    "first stage alone": ("first", (NEST, SSTS), ()),
    "first stage alone: no device TLB, nothing snooped, no ESRTPS":
        ("first", (NEST, SSTS, *ATS, C, SMPWCS, ESRTPS), ()),
    "first stage alone: CM, PASIDs of 8 bits, no 1G leaves, no PSI":
        ("first", (NEST, SSTS, PASID_BITS, LEAVES, PSI), (CM, (bits(34), 7 << 35))),
    "legacy: device TLB": ("legacy", SCALABLE, ()),
    "legacy: RWBF, no device TLB, domain ids of 4 bits":
        ("legacy", (*SCALABLE, *ATS, ND, *DEPTH), (FOUR, RWBF)),
    "legacy: CM, nothing snooped, no interrupt remapping, no PSI":
        ("legacy", (*SCALABLE, C, IR, EIM, PSI), (CM,)),
}
TOLD = {"nested": "scalable mode, nested", "second": "scalable mode, second stage only",
        "first": "scalable mode, first-stage format only", "legacy": "legacy mode"}


DOCUMENT = "docs/units.md"
HEAD = """# Units that Sluice was run on

Written by `make test-units` when all of it passed; do not edit. How a unit is used, and what then works, is
decided by its capabilities (`drivers/iommu/vtd/caps.c`); the log names the mode and what is missing.

| mode | unit has | DMA in guest physical | bind, NESTED |
|---|---|---|---|
| nested | SMTS, SSTS, FSTS, NEST, SMPWCS | second stage | hardware nesting |
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
MODEL_HEAD = """
## Booted on the model

The same guest with the accelerator ([accelerator.md](accelerator.md)) behind other units, each kind beside a second VM. Added
are messages of compatibility format and by DMA, and a process shared by PASID and by requester id where the unit
nests or there are shadows (`guest/units/process.c`). The model must have no complaint.

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


def config(functions, watch, remapped):
    """Each function is admitted by name where nobody remaps interrupts."""
    admit = "" if remapped else " interrupts=any"
    return CONFIG.format(pci=",".join(rid + admit for rid in functions), watch=watch + admit)


class TestUnits(unittest.TestCase):
    def boot(self, unit):
        with tempfile.NamedTemporaryFile(prefix="sluice-nvme-") as disk:
            disk.truncate(1 << 20)
            machine = ["-device", f"intel-iommu,{unit}",
                       "-drive", f"if=none,id=nvm,format=raw,file={disk.name}", *WATCH]
            for _, options in DEVICES.values():
                machine += [word for device in options for word in ("-device", device)]
            functions = [rid for rid, _ in DEVICES.values()]
            return sluice.boot(BUILD, config(functions, "00:0a.0", "intremap=on" in unit),
                               devices=False, shim=False, timeout=120, qemu=machine, cpus=3,
                               until=Until())

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
        ats = re.search(r"virtio-rng, unit 0, [a-z ]*, ATS", r.serial)
        self.assertEqual(bool(ats), "device-iotlb=on" in options, sluice.describe(r))
        return steps

    def boot_model(self, off, on):
        full = qemu.print_config(BUILD)
        cap, ecap = full["cap"], full["ecap"]
        for unset, cap_bits, ecap_bits in [(True, *b) for b in off] + [(False, *b) for b in on]:
            cap = cap & ~cap_bits if unset else cap | cap_bits
            ecap = ecap & ~ecap_bits if unset else ecap | ecap_bits
        return sluice.boot(BUILD, config(["00:04.0"], "00:05.0", IR not in off), cpus=3, timeout=120,
                           until=Until(), server=["--unit-cap", hex(cap), "--unit-ecap", hex(ecap)])

    def one_model(self, r, mode, off):
        """What the guest found, and steps that passed."""
        self.assertRegex(r.serial, f"vtd0: {TOLD[mode]}", sluice.describe(r))
        names = self.guest(r)
        self.unnoticed(r, IR not in off)
        self.assertEqual(r.complaints, [], sluice.describe(r))
        done = {name.removeprefix("accelerator_") for name in names}
        found = re.search(r"device 0: accelerator, unit 0, (.*)", r.serial)[1]
        # What the capabilities promise is what was done.
        self.assertEqual("shared" in done, mode != "legacy" and PASID not in off, found)
        self.assertEqual("shared_by_rid" in done, mode != "legacy", found)
        self.assertEqual("bind_refused" in done, "shared" not in done, found)
        self.assertEqual("asked" in done, "page requests" in found and "shared" in done, found)
        self.assertEqual("message_by_dma" in done, IR not in off, found)
        return found, len(names)

    def left_running(self, off, **machine):
        """Firmware left translation on and a device at work; the guest owns that device then."""
        r = sluice.boot(BUILD, config(["00:04.0"], "00:05.0", True)
                        .replace("host=", "left=0x1000000 host="), cpus=3, timeout=120, until=Until(),
                        shim_options="left-running", **machine)
        self.assertIn("a device left at work: yes", r.serial, sluice.describe(r))
        self.assertEqual("off for a moment" in r.serial, off, sluice.describe(r))
        names = self.guest(r)
        self.assertIn("left_running", names)
        self.assertIn("accelerator_shared", names)
        # Firmware's own: it turned translation on without an invalidation, which old tables need.
        own = ["COMPLAINT unit te-stale-caches: te-stale-caches: global invalidation after SRTP (6.6): "
               "missing: context IOTLB"]
        self.assertEqual(r.complaints, own if off else [], sluice.describe(r))

    def test_left_running(self):
        self.left_running(False)

    def test_left_running_in_a_mode_that_cannot_change(self):
        cap = qemu.print_config(BUILD)["cap"] & ~ESRTPS[0]
        self.left_running(True, server=["--unit-cap", hex(cap)])

    def run_all(self, boot, units):
        """(name, what it is, run) of each; two at a time, as much of a run is waiting."""
        with ThreadPoolExecutor(2) as pool:
            yield from zip(units, units.values(), pool.map(boot, units.values()))

    def test_units(self):
        rows = ["| unit | options | " + " | ".join(DEVICES) + " |", "|---" * (2 + len(DEVICES)) + "|"]
        for name, (told, options), r in self.run_all(lambda u: self.boot(u[1]), MODES):
            with self.subTest(name):
                steps = self.one_mode(r, told, options)
                rows.append(f"| {name} | `{options}` | "
                            + " | ".join(str(n) for n in steps.values()) + " |")
        models = ["| unit | device | steps |", "|---|---|---|"]
        for name, (mode, off, _), r in self.run_all(lambda u: self.boot_model(*u[1:]), MODEL_UNITS):
            with self.subTest(name):
                models.append("| {} | {} | {} |".format(name, *self.one_model(r, mode, off)))
        model = subprocess.run([f"{BUILD}/tests/unit/test_vtd_units"], capture_output=True, text=True)
        self.assertEqual(model.returncode, 0, model.stderr)
        if len(rows) + len(models) == 4 + len(MODES) + len(MODEL_UNITS):
            table = [line for line in model.stdout.splitlines() if line.startswith("|")]
            write(HEAD + "\n".join(rows) + "\n" + MODEL_HEAD + "\n".join(models) + "\n" + MODEL
                  + "\n".join(table) + "\n")
