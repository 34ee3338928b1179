# SPDX-License-Identifier: BSD-2-Clause
"""The demonstration on units that do not nest: the same guests, the same results, by shadow tables."""
import os
import unittest

import qemu
import run
import sluice

BUILD = os.environ.get("SLUICE_BUILD", "build")
NEST, SSTS, FSTS = 1 << 26, 1 << 46, 1 << 47

# What must be as on a unit that nests; page requests need not, as Sluice serves some itself.
SAME = ("mismatches", "blocked_after_unbind", "escapes_refused", "escapes_succeeded", "lost", "wrong",
        "work_interrupts", "interrupts_refused")


class TestShadow(unittest.TestCase):
    nested = None

    def demo(self, without):
        ecap = qemu.print_config(BUILD)["ecap"] & ~without
        r = sluice.boot(BUILD, server=["--unit-ecap", hex(ecap)], timeout=240)
        self.assertEqual(run.wrong_in(r, ["alpha", "beta"]), [], sluice.describe(r))
        self.assertEqual("by shadow tables" in r.serial, without != 0)
        return sluice.summaries(r.lines)

    def as_nested(self, without):
        if not TestShadow.nested:
            TestShadow.nested = self.demo(0)
        shadowed = self.demo(without)
        for guest in ("alpha", "beta"):
            for key in SAME:
                self.assertEqual(shadowed[guest][key], TestShadow.nested[guest][key],
                                 f"{guest}: {key}")

    def test_second_stage_only(self):
        self.as_nested(NEST | FSTS)

    def test_both_stages_without_nesting(self):
        self.as_nested(NEST)

    def test_first_stage_only(self):
        self.as_nested(NEST | SSTS)


if __name__ == "__main__":
    unittest.main()
