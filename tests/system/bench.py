# SPDX-License-Identifier: BSD-2-Clause
"""Measure Sluice by counting instructions (QEMU -icount shift=0: one TSC tick per instruction), and its
page tables also in time."""
import os
import re
import struct
import subprocess

import qemu
import sluice

CONFIG = """[hypervisor]
memory = 16M
when-done = reboot

[bench]
memory = 32M
cpus = 0
kernel = bench.elf
pci = 00:04.0
table-quota = 12M
"""

# The image with a main of its own: tests/system/host/bench_tables.c.
TABLES = """[hypervisor]
image = host-test.elf
iommu = optional
when-done = reboot

[host]
memory = 2M
cpus = 0
kernel = mini.elf
cmdline = bench
"""

# name, unit, limit to reach (None: none set), what it is compared with
ROWS = [
    ("null_hypercall", "instructions", 200, "KVM in the same emulator takes 2442"),
    ("bind_unbind", "instructions", None, ""),
    ("invalidate_page_call", "instructions", None, ""),
    ("invalidate_page_ring", "instructions", 150, "each of 256 with one doorbell"),
    ("page_request_forward", "instructions", 600, "each of 64, hardware queue to guest ring"),
    ("page_response_ring", "instructions", None, "each of 64 with one doorbell"),
    ("page_request_to_guest", "instructions", None, "one, to the first line of the guest's handler"),
    ("fault_to_guest", "instructions", None, "the same"),
    ("shadow_bind_unbind", "instructions", None, "on a unit that does not nest"),
    ("shadow_fill", "instructions", None, "each of 256 notices with one doorbell"),
    ("attach_replace", "instructions", 2000, "Linux 6.12 in the same emulator takes 4115"),
    ("ioas_map_4k_call", "instructions", None, ""),
    ("ioas_unmap_4k_call", "instructions", None, ""),
    ("ioas_map_255x4k_call", "instructions", None, ""),
    ("ioas_unmap_256x4k_call", "instructions", None, ""),
    ("ioas_map_4k", "instructions", 504, "each of 256 with one doorbell"),
    ("ioas_unmap_4k", "instructions", None, "the same; each invalidated and waited for"),
    ("ioas_map_255x4k", "instructions", 4692, "each of 16 with one doorbell"),
    ("ioas_unmap_256x4k", "instructions", 7124, "the same; each invalidated and waited for"),
    ("iova_alloc_10", "instructions", None, "map to a free place among 10 mappings"),
    ("iova_alloc_1000", "instructions", None, "log 1000 / log 10 = 3.0"),
    ("iova_alloc_100000", "instructions", None, "log 100000 / log 10 = 5.0"),
    ("ss_map_4k", "instructions", 252, "second stage alone, leaf table there; Linux 504"),
    ("ss_map_255x4k", "instructions", 2346, "Linux 4692"),
    ("ss_map_256x2m", "instructions", 6462, "Linux 12925"),
    ("ss_unmap_4k", "instructions", 497, "Linux 995"),
    ("ss_unmap_256x4k", "instructions", 3368, "Linux 6737"),
    ("ss_unmap_256x2m", "instructions", 3760, "Linux 7521"),
    ("ss_map_4k_new", "instructions", None, "three tables made"),
    ("ss_unmap_4k_last", "instructions", None, "three tables found empty, and freed"),
    ("host_map_4k", "percent", 130, "of a plain walk's time on this machine"),
    ("host_map_255x4k", "percent", 130, ""),
    ("host_map_256x2m", "percent", 130, ""),
    ("host_unmap_4k", "percent", 130, ""),
    ("host_unmap_256x4k", "percent", 130, ""),
    ("host_unmap_256x2m", "percent", 130, ""),
    ("boot", "instructions", None, "hypervisor entry to first guest instruction"),
    ("image_bytes", "bytes", 256 * 1024, "the file that is loaded"),
    ("memory_bytes", "bytes", None, "the hypervisor's own: pages in use and the image, without guests"),
]


def memory_of_image(build):
    """Bytes that the loaded segments take, zero-initialised data included."""
    with open(f"{build}/sluice.stripped.elf", "rb") as f:
        data = f.read()
    phoff, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    headers = (data[phoff + i * size:phoff + (i + 1) * size] for i in range(count))
    return sum(struct.unpack_from("<Q", h, 40)[0] for h in headers
               if struct.unpack_from("<I", h)[0] == 1)  # PT_LOAD


def figures(r):
    """{name: value} of the lines "@bench NAME VALUE"."""
    matches = (re.match(r"@bench (\S+) (\d+)$", text) for _, text in sluice.guest_lines(r.lines))
    return {m[1]: int(m[2]) for m in matches if m}


def timed(build):
    """{name: percent}, {name: nanoseconds in words} of tests/bench/bench_pt.c."""
    out = subprocess.run([f"{build}/tests/bench/bench_pt"], check=True, capture_output=True,
                         text=True).stdout
    rows = re.findall(r"^@bench (\S+) (\d+) (\d+)$", out, re.M)
    return ({name: int(percent) for name, percent, _ in rows},
            {name: f"{int(ps) / 1000:.1f} ns" for name, _, ps in rows})


def main(build):
    print("measuring with one tick per instruction; this takes about a minute", flush=True)
    r = sluice.boot(build, CONFIG, icount=True, cpus=1, timeout=400)
    # The same guest on a unit without NEST (ECAP bit 26).
    ecap = qemu.print_config(build)["ecap"] & ~(1 << 26)
    shadow = sluice.boot(build, CONFIG, icount=True, cpus=1, timeout=60,
                         server=["--unit-ecap", hex(ecap)])
    found = figures(shadow) | figures(r)
    tables = sluice.boot(build, TABLES, [(f"{build}/tests/host-test.elf", "host-test.elf")],
                         icount=True, cpus=1, devices=False, shim=False, timeout=60)
    percent, nanoseconds = timed(build)
    found |= figures(tables) | percent
    own = sluice.summaries(r.lines).get("-", {})
    found["boot"] = own.get("boot_ticks")
    if "memory_bytes" in own:
        found["memory_bytes"] = own["memory_bytes"] + memory_of_image(build)
    found["image_bytes"] = os.path.getsize(f"{build}/sluice.stripped.elf")
    missing = 0
    os.makedirs(build, exist_ok=True)
    with open(f"{build}/bench.txt", "w", encoding="ascii") as f:
        for name, unit, limit, note in ROWS:
            value = found.get(name)
            note = f"{nanoseconds.get(name, '')} {note}".strip()
            if value is None:
                missing += 1
                print(f"  {name:22} not measured")
                continue
            f.write(f"{name} {value} {unit}\n")
            verdict = "" if limit is None else (
                f"(limit {limit}: {'reached' if value <= limit else 'NOT reached'})")
            print(f"  {name:22} {value:>12} {unit:13} {verdict} {note}".rstrip())
    broken = [x for x in (r, shadow)
              if not x.clean() or sluice.ended(x.lines, "bench") != "shutdown code 0"]
    if missing or broken:
        for x in broken or (r, shadow, tables):
            print(sluice.describe(x))
        print("the measurement did not come to its end")
        return 1
    print(f"written to {build}/bench.txt")
    return 0
