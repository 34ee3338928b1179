# SPDX-License-Identifier: BSD-2-Clause
"""`make run MACHINE=bochs`: two guests on VMX. Bochs has no IOMMU, so they are those without devices."""
import re

import bochs
import sluice

CONFIG = """[hypervisor]
memory = 16M
iommu = optional
when-done = halt
[alpha]
memory = 32M
cpus = 0
kernel = suite.elf
[beta]
memory = 32M
cpus = 1
kernel = mini.elf
cmdline = end=triple
"""

# What is to come: how each guest ends.
ENDS = {"alpha": "shutdown code 0", "beta": "triple fault code 0"}


def story(line):
    if re.match(r"\[|Sluice|loading|starting|\\", line) and "@hv" not in line:
        print("  " + line, flush=True)


def main(build):
    print("booting the image in Bochs with two guests on VMX; this takes about half a minute",
          flush=True)
    r = sluice.boot_bochs(build, CONFIG, cpus=2, on_line=story)
    wrong = [] if r.ended else ["it did not end"]
    for guest, end in ENDS.items():
        tests = sluice.guest_tests(r.lines, guest)
        wrong += [f"{guest}: {text}" for _, good, text in tests if not good]
        if not tests or sluice.ended(r.lines, guest) != end:
            wrong.append(f"{guest}: {len(tests)} tests, ended: {sluice.ended(r.lines, guest)}")
        print(f"  {guest}: {sum(good for _, good, _ in tests)} of {len(tests)} checks held, {end}")
    for text in wrong:
        print(f"WRONG: {text}")
    print(f"{'FAILED' if wrong else 'every check held'}; {r.seconds:.0f} s")
    return 1 if wrong else 0
