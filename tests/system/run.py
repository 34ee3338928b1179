#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Boot Sluice in QEMU: show the demonstration, run the system tests, measure.

usage: run.py [--build DIR] run | test [PATTERN]... | bench
"""
import argparse
import os
import re
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import sluice  # noqa: E402

# What a guest's summary must hold, for the run to be good.
MUST = {
    "bytes_by_dma": lambda v: v > 0,
    "page_requests": lambda v: v > 0,
    "answered": lambda v: v > 0,
    "map_faults": lambda v: v > 0,
    "lost": lambda v: v == 0,
    "mismatches": lambda v: v == 0,
    "blocked_after_unbind": lambda v: v > 0,
    "escapes_refused": lambda v: v > 0,
    "escapes_succeeded": lambda v: v == 0,
    "exits": lambda v: v > 0,
}


def wrong_in(r, guests):
    """Everything that keeps a run of the demonstration from being good, in words."""
    found = [f"the devices complain: {c}" for c in r.complaints]
    if r.timed_out:
        found.append("it did not end by itself")
    if r.server_exit not in (0, 3):
        found.append(f"device-server ended with {r.server_exit}")
    sums = sluice.summaries(r.lines)
    for guest in guests:
        end = sluice.ended(r.lines, guest)
        if end != "shutdown code 0":
            found.append(f"{guest} ended: {end or 'not at all'}")
        for key, good in MUST.items():
            value = sums.get(guest, {}).get(key)
            if value is None or not good(value):
                found.append(f"{guest}: {key} is {value}")
        for key in ("page_requests", "lost", "map_faults"):  # both sides count the same
            mine, its = sums.get(guest, {}).get(f"hv.{key}"), sums.get(guest, {}).get(key)
            if mine != its:
                found.append(f"{guest}: {key} is {its} to the guest and {mine} to Sluice")
        if sums.get(guest, {}).get("answered") != sums.get(guest, {}).get("page_requests"):
            found.append(f"{guest}: not every page request was answered")
    return found


def outside_pool(r, config):
    """Is the address that the guests try as the hypervisor's really in its memory? "" if so."""
    pool = re.search(r"pool of (\d+) MiB at (0x[0-9a-f]+)", r.serial)
    if not pool:
        return "Sluice does not say where its memory is"
    base, size = int(pool[2], 16), int(pool[1]) << 20
    for tried in re.findall(r"hypervisor=(0x[0-9a-f]+)", config):
        if not base <= int(tried, 16) < base + size:
            return f"hypervisor={tried} is not Sluice's memory, which is {size >> 20} MiB at {base:#x}"
    return ""


def story(line):
    """The lines a person wants to follow: guests and the hypervisor, not the firmware."""
    if line.startswith(("[", "Sluice", "loading", "starting", "shim:", "\\")) and "@" not in line:
        print("  " + line, flush=True)


def table(sums, guests):
    keys = list(MUST)
    width = max(len(k) for k in keys)
    rows = [["", *guests]] + [[k, *(str(sums.get(g, {}).get(k, "-")) for g in guests)] for k in keys]
    for row in rows:
        print("  " + row[0].ljust(width) + "".join(cell.rjust(14) for cell in row[1:]))


def command_run(build):
    print("booting build/sluice.img in QEMU with two accelerators and a VT-d unit; "
          "this takes about a minute", flush=True)
    r = sluice.boot(build, timeout=300, on_line=story)
    guests = ["alpha", "beta"]
    sums = sluice.summaries(r.lines)
    os.makedirs(f"{build}/run", exist_ok=True)
    with open(f"{build}/run/summary.txt", "w", encoding="ascii") as f:
        for g in guests:
            for key in MUST:
                f.write(f"guest.{g}.{key} {sums.get(g, {}).get(key, 'missing')}\n")
    with open(f"{build}/run/console.txt", "w", encoding="utf-8") as f:
        f.write(r.serial + "\n")
    print()
    table(sums, guests)
    wrong = wrong_in(r, guests) + list(filter(None, [outside_pool(r, sluice.default_config())]))
    print()
    for text in wrong:
        print(f"WRONG: {text}")
    if wrong:
        print(sluice.describe(r), file=sys.stderr)
    print(f"{'FAILED' if wrong else 'every check held'}; {r.seconds:.0f} s; "
          f"{build}/run/summary.txt, {build}/run/console.txt")
    return 1 if wrong else 0


class _Lines(unittest.TestResult):
    """One line a test, as it ends."""

    def startTest(self, test):
        super().startTest(test)
        self.begun, self.passed, self.subs = time.monotonic(), getattr(self, "passed", 0), 0

    def _line(self, word, test, text=""):
        print(f"{word} {test} ({time.monotonic() - self.begun:.1f} s)", flush=True)
        for line in text.splitlines():
            print(f"    | {line}")

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1
        self._line("ok  ", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line("FAIL", test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._line("FAIL", test, self.errors[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line("FAIL", test, f"skipped: {reason}")  # nothing is skipped here

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is None:
            self.passed += 1
        else:
            self._line("FAIL", subtest, (self.failures + self.errors)[-1][1])


def command_test(build, patterns):
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{p}*" for p in patterns] or None
    suite = loader.discover(HERE, pattern="test_*.py")
    result = _Lines()
    os.environ["SLUICE_BUILD"] = build
    suite.run(result)
    failed = len(result.failures) + len(result.errors) + len(result.skipped)
    passed = getattr(result, "passed", 0)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


def main():
    sys.stdout.reconfigure(line_buffering=True)
    args = argparse.ArgumentParser()
    args.add_argument("--build", default="build")
    args.add_argument("--machine", choices=["qemu", "bochs"], default="qemu")
    args.add_argument("command", choices=["run", "test", "bench"])
    args.add_argument("patterns", nargs="*")
    args = args.parse_args()
    if args.command == "run" and args.machine == "bochs":
        import run_bochs
        return run_bochs.main(args.build)
    if args.command == "run":
        return command_run(args.build)
    if args.command == "test":
        return command_test(args.build, args.patterns)
    import bench
    return bench.main(args.build)


if __name__ == "__main__":
    sys.exit(main())
