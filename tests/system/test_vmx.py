# SPDX-License-Identifier: BSD-2-Clause
"""The same image and the same guests on VMX: Bochs, with CPU models that differ in what hardware does.

Booting Bochs takes longer than the tests, so a run holds as many as fit, and all runs start at once, as
many at a time as this machine has CPUs.
"""
import concurrent.futures
import os
import unittest

import bochs
import sluice

BUILD = os.environ.get("SLUICE_BUILD", "build")

HEAD = "[hypervisor]\nmemory = 16M\niommu = {}\nwhen-done = halt\n"


def vm(name, kernel, cpus, cmdline=""):
    text = f"[{name}]\nmemory = 32M\ncpus = {cpus}\nkernel = {kernel}.elf\n"
    return text + (f"cmdline = {cmdline}\n" if cmdline else "")


SUITE_SMP = HEAD.format("optional") + vm("suite", "suite", "0-1", "end=triple iommu=none")

HOST = """[hypervisor]
image = host-test.elf
iommu = optional
when-done = halt
[host]
memory = 2M
cpus = 0
kernel = demo.elf
cmdline = {}
[spin]
memory = 4M
cpus = 1
kernel = mini.elf
cmdline = calls=4000000000
"""

# name: (configuration, CPU model, CPUs)
RUNS = {
    "suite, posted": (SUITE_SMP, bochs.CPU_POSTED, 2),
    "suite, injected": (SUITE_SMP, bochs.CPU_PLAIN, 2),
    "mini, posted": (HEAD.format("optional") + vm("mini", "mini", "0-1", "end=hang"),
                     bochs.CPU_POSTED, 2),
    "mini, delivered": (HEAD.format("optional") + vm("mini", "mini", "0-1", "end=double"),
                        bochs.CPU_DELIVERS, 2),
    "suite, tracked": (SUITE_SMP, bochs.CPU_CET, 2),
    "host: nmi": (HOST.format("nmi"), bochs.CPU_PLAIN, 2),
    "host: refused": (HOST.format("refused-entry") + HOST[HOST.index("[spin]"):].replace("spin", "go")
                      .replace("cpus = 1", "cpus = 2"), bochs.CPU_PLAIN, 3),
    "host: branch": (HOST.format("branch-astray"), bochs.CPU_CET, 2),
    "two guests": (HEAD.format("optional") + vm("alpha", "mini", "1", "end=reset")
                   + vm("beta", "mini", "0", "end=triple"), bochs.CPU_PLAIN, 2),
    "one CPU": (HEAD.format("optional") + vm("suite", "suite", "0"), bochs.CPU_POSTED, 1),
    "required": (HEAD.format("required") + vm("mini", "mini", "0"), bochs.CPU_PLAIN, 1),
}
_pool = concurrent.futures.ThreadPoolExecutor(max(2, os.cpu_count() or 2))
_started = {}


def tearDownModule():
    _pool.shutdown(cancel_futures=True)


def boot(config, cpu, cpus):
    extra = [(f"{BUILD}/tests/host-test.elf", "host-test.elf")] if "host-test" in config else []
    end = "panic: stopped|@test (nmi-guests|refused)" if extra else bochs.END
    return sluice.boot_bochs(BUILD, config, extra, cpu=cpu, cpus=cpus, timeout=150, until=end)


def result(name):
    for run in [name, *RUNS]:
        if run not in _started:
            _started[run] = _pool.submit(boot, *RUNS[run])
    return _started[name].result()


def describe(r):
    return "\n".join(r.lines[-80:]) + f"\n--- Bochs: exit {r.exit_code}, {r.seconds:.1f} s\n" + \
        r.log[-3000:]


class TestVmx(unittest.TestCase):
    def good(self, name, interrupts, ends, least):
        """Every check of every guest holds, and each ends as it should. Returns the run."""
        r = result(name)
        self.assertTrue(r.ended, describe(r))
        self.assertIn("guests with VMX", r.serial, describe(r))
        self.assertIn(f"vmx: interrupts by {interrupts};", r.serial, describe(r))
        for guest, end in ends.items():
            tests = sluice.guest_tests(r.lines, guest)
            self.assertGreater(len(tests), least, describe(r))
            self.assertEqual([text for _, good, text in tests if not good], [], describe(r))
            self.assertEqual(sluice.ended(r.lines, guest), end, describe(r))
        return r

    def test_suite_posted_interrupts(self):
        self.good("suite, posted", "hardware, posted", {"suite": "triple fault code 0"}, 15)

    def test_suite_injected_interrupts(self):
        self.good("suite, injected", "injection", {"suite": "triple fault code 0"}, 15)

    def test_suite_beside_tracked_branches(self):
        r = self.good("suite, tracked", "hardware, posted", {"suite": "triple fault code 0"}, 15)
        self.assertIn("cpu: guarded by SMEP SMAP UMIP IBT", r.serial)
        self.assertRegex(r.serial, "cpu: against speculation: VERW RSB IBRS.* IBPB")

    def test_a_branch_that_went_astray(self):
        r = result("host: branch")
        self.assertEqual(sluice.guest_tests(r.lines, "host"), [("branch", True, "@test branch ok ")],
                         describe(r))
        self.assertIn("trap: control protection (vector 21, error code 0x3)", r.serial, describe(r))

    def test_nmi_of_the_host(self):
        r = result("host: nmi")
        self.assertEqual([(name, good) for name, good, _ in sluice.guest_tests(r.lines, "host")],
                         [("nmi-counted", True), ("nmi-guests-go-on", True)], describe(r))
        self.assertRegex(r.serial, r"nmi: warning: CPU [01]: \d+ so far that nobody asked for")

    def test_a_refused_entry_ends_that_vm_alone(self):
        r = result("host: refused")
        self.assertEqual([(name, good) for name, good, _ in sluice.guest_tests(r.lines, "host")],
                         [("refused-alone", True)], describe(r))
        self.assertIn("vCPU 0: entry refused: invalid control fields: event to deliver: vector does not "
                      "fit its type", r.serial)
        self.assertEqual(sluice.ended(r.lines, "spin"), "entry refused code 7", describe(r))
        self.assertIsNone(sluice.ended(r.lines, "go"), describe(r))

    def test_same_results_as_svm(self):
        ours = result("suite, injected")
        with_svm = sluice.boot(BUILD, SUITE_SMP.replace("halt", "reboot"), shim=False, devices=False,
                               timeout=60)
        self.assertIn("guests with SVM", with_svm.serial, sluice.describe(with_svm))
        names = [[(test, good) for test, good, _ in sluice.guest_tests(r.lines, "suite")]
                 for r in (ours, with_svm)]
        self.assertEqual(names[0], names[1], describe(ours))

    def test_several_vcpus_and_one_that_spins(self):
        self.good("mini, posted", "hardware, posted", {"mini": "shutdown code 0"}, 50)

    def test_delivery_without_posting(self):
        self.good("mini, delivered", "hardware, not posted", {"mini": "triple fault code 0"}, 50)

    def test_two_guests(self):
        self.good("two guests", "injection",
                  {"alpha": "shutdown code 0", "beta": "triple fault code 0"}, 50)

    def test_one_cpu(self):
        r = self.good("one CPU", "hardware, posted", {"suite": "shutdown code 0"}, 15)
        self.assertIn("boot: 1 CPUs", r.serial)

    def test_iommu_required(self):
        r = result("required")
        self.assertIn("IOMMU (iommu = required): failed", r.serial, describe(r))
        self.assertIn("no DMAR table", r.serial, describe(r))
        self.assertNotIn("@test", r.serial, describe(r))

    def test_nothing_is_left(self):
        for pid in [pid for run in _started.values() if run.done() for pid in run.result().pids]:
            self.assertFalse(os.path.exists(f"/proc/{pid}"))
