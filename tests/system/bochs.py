# SPDX-License-Identifier: BSD-2-Clause
"""The other test machine: Bochs, which emulates VMX, with OVMF from the distribution.

`run(Machine(...))` boots a copy of an image, waits for the end, and gives back what the serial console
said. Nothing is left running afterwards, and no file: Bochs dies with this process, and leaves its
lock beside the copy. It has no IOMMU, no PCIe and no ACPI tables; it never ends by itself, so every
run names the line that ends it. Runs inside the toolchain root (tools/in-root).
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field

import qemu

# What hardware does of a guest's interrupts: all, posting them too; deliver; nothing.
CPU_POSTED = "corei7_icelake_u"
CPU_DELIVERS = "corei7_haswell_4770"
CPU_PLAIN = "corei7_ivy_bridge_3770k"
# As the first one; with CET, and speculation that wants buffers cleared.
CPU_CET = "tigerlake"


HOST_MEMORY = 2048  # MiB; more is swapped to a file

# The last line of the console, however the hypervisor or the loader ends (when-done = halt).
END = r"report: @hv - vms|panic: stopped|no guest is started|Nothing was started"

# One tick is one instruction of one CPU. reset_on_triple_fault=0: a triple fault of the host is fatal.
CONFIG = """display_library: rfb, options="timeout=0"
memory: guest={memory}, host={host}
cpu: model={cpu}, count={cpus}, ips={ips}, reset_on_triple_fault=0
romimage: file=/usr/share/ovmf/OVMF.fd
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
pci: enabled=1, chipset=i440fx
ata0-master: type=disk, path={directory}/disk.img, mode=flat
com1: enabled=1, mode=file, dev=/dev/fd/{console}
log: {directory}/bochs.log
panic: action=fatal
clock: sync=none
"""


@dataclass
class Machine:
    image: str                    # disk image; it is never written
    cpu: str = CPU_POSTED
    cpus: int = 1
    memory: int = 256             # MiB
    ips: int = 100000000          # instructions in an emulated second
    timeout: float = 60           # seconds, hard
    until: str = END              # the run ends when a line of the console matches this expression
    on_line: object = None        # called with each line of the serial console as it comes
    config: list = field(default_factory=list)  # further lines of the configuration


@dataclass
class Result:
    serial: str = ""
    lines: list = field(default_factory=list)
    ended: bool = False           # the line that ends it came
    exit_code: int = None         # if Bochs ended first: a panic of the emulator's
    log: str = ""
    seconds: float = 0.0
    pids: list = field(default_factory=list)  # of what was started, and has ended


_ESCAPES = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00\r]")


def _collect(console, m, result, done):
    """Reads the serial console until the line that ends the run, or its end."""
    with open(console, "rb", buffering=0) as raw:
        rest = b""
        while not result.ended:
            data = raw.read(4096)
            if not data:
                break
            *whole, rest = (rest + data).split(b"\n")
            for text in whole:
                line = _ESCAPES.sub("", text.decode("utf-8", "replace"))
                result.lines.append(line)
                if m.on_line:
                    m.on_line(line)
                result.ended = result.ended or re.search(m.until, line) is not None
    done.set()


def run(m):
    result = Result()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sluice-bochs-") as directory:
        shutil.copyfile(m.image, f"{directory}/disk.img")
        console, theirs = os.pipe()
        with open(f"{directory}/bochsrc", "w", encoding="ascii") as f:
            f.write(CONFIG.format(directory=directory, console=theirs,
                                  host=min(m.memory, HOST_MEMORY), **vars(m)))
            if m.cpu == CPU_CET:
                # Bochs 3.0 panics where OVMF, with CR0.WP off, writes to a read-only page: it goes on.
                f.write("panic: action=fatal" + "".join(f", cpu{n}=report" for n in range(m.cpus)) + "\n")
            f.write("".join(line + "\n" for line in m.config))
        done = threading.Event()
        with open(f"{directory}/bochs.out", "wb") as out:
            process = subprocess.Popen(["bochs", "-q", "-f", f"{directory}/bochsrc"], pass_fds=[theirs],
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                       preexec_fn=qemu._die_with_parent)
        os.close(theirs)
        reader = threading.Thread(target=_collect, args=(console, m, result, done), daemon=True)
        reader.start()
        try:  # its end, or that of the emulator, which closes the console
            done.wait(m.timeout)
        finally:
            result.exit_code = process.poll()
            process.kill()
            process.wait()
            result.pids.append(process.pid)
            reader.join(5)
        # Without a log it did not like its configuration.
        result.log = qemu._text(f"{directory}/bochs.out") + qemu._text(f"{directory}/bochs.log")
    result.seconds = time.monotonic() - started
    result.serial = "\n".join(result.lines)
    return result


def main():
    """bochs.py IMAGE [CPUS [MODEL]]: boot an image and show its console (for a person)."""
    if len(sys.argv) < 2:
        sys.exit("usage: bochs.py IMAGE [CPUS [MODEL]]")
    result = run(Machine(image=sys.argv[1], timeout=300, cpus=int((sys.argv[2:] or [1])[0]),
                         cpu=(sys.argv[3:] or [CPU_POSTED])[0],
                         on_line=lambda line: print(line, flush=True)))
    if not result.ended:
        print(result.log[-4000:], file=sys.stderr)
    print(f"Bochs {result.exit_code}, {result.seconds:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
