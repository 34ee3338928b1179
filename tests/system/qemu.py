# SPDX-License-Identifier: BSD-2-Clause
"""The test machine: an unmodified QEMU (q35, OVMF) beside the device server.

`run(Machine(...))` starts both, waits for the end, and gives back all they said. Nothing is left
running afterwards, however the run ends: both die with this process, too. Runs inside the toolchain
root (tools/in-root). docs/test-machine.md describes the machine.
"""
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field

OVMF = "/usr/share/OVMF"
UNIT_SLOT, ACCEL_SLOTS = "02.0", {"a": "04.0", "b": "05.0"}
DISK_SLOT, USB_SLOT, SHIM_SLOT = "07.0", "06.0", "08.0"
DEBUG_EXIT_PORT = 0xF4  # writing v there ends QEMU with exit code 2 v + 1

# TCG has no VMX; SVM lacks nrip-save and decode assists there. With xsave but not
# xsaveopt, its TCG refuses CR4.OSXSAVE, and hangs on the instruction.
CPU = "qemu64,+svm,+npt,+x2apic,+pdpe1gb,+smep,+smap,+umip,+fsgsbase,+rdtscp,+xsave,+xsaveopt,+rdrand"


@dataclass
class Machine:
    build: str = "build"          # where device-server and shim.efi are (below tests/)
    image: str = None             # disk image; it is never written
    image_bus: str = "virtio"     # virtio, ide or usb
    shim: bool = True             # a disk with the firmware shim, which starts the image's loader
    shim_options: str = ""        # words for shim.cfg
    loader: str = None            # an EFI application for the shim's disk, started instead of the image
    devices: bool = True          # unit and accelerators; False: no device server
    cpus: int = 2
    memory: int = 512             # MiB
    cpu: str = CPU
    icount: bool = False          # exact instruction counts; the devices then finish at once (--sync)
    timeout: float = 60           # seconds, hard
    until: object = None          # end the run when a line of the console holds this; or a function of it
    server: list = field(default_factory=list)  # further options of device-server
    qemu: list = field(default_factory=list)    # further options of QEMU
    on_line: object = None        # called with each line of the serial console as it comes


@dataclass
class Result:
    serial: str = ""
    lines: list = field(default_factory=list)
    exit_code: int = None         # of QEMU; negative: a signal
    debug_exit: int = None        # value written to the debug exit port
    timed_out: bool = False
    qemu_log: str = ""
    server_exit: int = None       # 0; 3: complaints
    server_log: str = ""
    complaints: list = field(default_factory=list)
    stats: dict = field(default_factory=dict)
    seconds: float = 0.0
    pids: list = field(default_factory=list)     # of what was started, and has ended

    def clean(self):
        """It ended by itself, and the devices saw no rule broken."""
        return not self.timed_out and self.server_exit in (0, None) and not self.complaints


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _start(command, **streams):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent,
                            **streams)


def _end(process, grace):
    """Ask to end, then insist. Returns the exit code."""
    if process.poll() is None and grace:
        process.terminate()
        try:
            return process.wait(grace)
        except subprocess.TimeoutExpired:
            pass
    if process.poll() is None:
        process.kill()
    return process.wait()


def server_command(m, directory):
    """device-server for the slots that qemu_command uses."""
    command = [os.path.join(m.build, "tests/device-server"), "--once",
               "--log", f"{directory}/server.log", "--stats", f"{directory}/server.stats"]
    command += (["--sync"] if m.icount else []) + list(m.server)
    command += ["--unit", f"{directory}/unit.sock"]
    for name, slot in ACCEL_SLOTS.items():
        command += ["--accel", f"name={name},rid=00:{slot},socket={directory}/accel-{name}.sock"]
    return command


def _disk_options(m, directory):
    options = []
    if m.shim:
        options += ["-drive", f"if=none,id=shim,format=raw,read-only=on,file=fat:{directory}/shim",
                    "-device", f"virtio-blk-pci,drive=shim,addr={SHIM_SLOT},bootindex=0"]
    if m.image:
        device = {"virtio": f"virtio-blk-pci,drive=disk,addr={DISK_SLOT}",
                  "ide": "ide-hd,drive=disk,bus=ide.0",
                  "usb": "usb-storage,drive=disk,bus=usb.0"}[m.image_bus]
        if m.image_bus == "usb":
            options += ["-device", f"qemu-xhci,id=usb,addr={USB_SLOT}"]
        options += ["-drive", f"if=none,id=disk,format=raw,snapshot=on,file={m.image}",
                    "-device", f"{device},bootindex=1"]
    return options


def qemu_command(m, directory):
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot",
               "-display", "none", "-machine", "q35,memory-backend=mem", "-cpu", m.cpu,
               "-smp", str(m.cpus), "-m", f"{m.memory}M",
               "-object", f"memory-backend-memfd,id=mem,size={m.memory}M,share=on",
               "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M.fd",
               "-drive", f"if=pflash,unit=1,format=raw,file={directory}/vars.fd",
               "-device", f"isa-debug-exit,iobase={DEBUG_EXIT_PORT:#x},iosize=4",
               "-serial", "stdio"]
    if m.icount:
        command += ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]
    else:
        command += ["-accel", "tcg,thread=multi"]
    if m.devices:
        sockets = [(UNIT_SLOT, "unit")] + [(s, f"accel-{n}") for n, s in ACCEL_SLOTS.items()]
        for slot, name in sockets:
            # Posted writes would let a write to one socket overtake an older one to another.
            command += ["-device", '{"driver":"vfio-user-pci","addr":"%s","x-no-posted-writes":true,'
                        '"x-msg-timeout":20000,"socket":{"type":"unix","path":"%s/%s.sock"}}'
                        % (slot, directory, name)]
    return command + _disk_options(m, directory) + list(m.qemu)


def _prepare(m, directory):
    shutil.copyfile(f"{OVMF}/OVMF_VARS_4M.fd", f"{directory}/vars.fd")
    if not m.shim:
        return
    os.makedirs(f"{directory}/shim/EFI/BOOT")
    os.makedirs(f"{directory}/shim/EFI/sluice")
    shutil.copyfile(os.path.join(m.build, "tests/shim.efi"), f"{directory}/shim/EFI/BOOT/BOOTX64.EFI")
    if m.shim_options:
        with open(f"{directory}/shim/EFI/sluice/shim.cfg", "w", encoding="ascii") as f:
            f.write(m.shim_options + "\n")
    if m.loader:
        shutil.copyfile(m.loader, f"{directory}/shim/EFI/sluice/loader.efi")


def _wait_for_sockets(m, server, directory):
    names = ["unit"] + [f"accel-{n}" for n in ACCEL_SLOTS]
    deadline = time.monotonic() + 10
    while not all(os.path.exists(f"{directory}/{n}.sock") for n in names):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("device-server did not start: " + " ".join(server_command(m, directory)))
        time.sleep(0.01)


def _text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except FileNotFoundError:
        return ""


_ESCAPES = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00\r]")


def _collect(machine, m, result):
    """Reads the serial console to its end, without the firmware's terminal controls."""
    for raw in iter(machine.stdout.readline, b""):
        line = _ESCAPES.sub("", raw.decode("utf-8", "replace")).rstrip("\n")
        result.lines.append(line)
        if m.on_line:
            m.on_line(line)
        if m.until and (m.until(line) if callable(m.until) else m.until in line):
            machine.terminate()


def run(m):
    result = Result()
    server = machine = None
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sluice-") as directory:
        try:
            _prepare(m, directory)
            if m.devices:
                with open(f"{directory}/server.err", "wb") as err:
                    server = _start(server_command(m, directory), stdout=err, stderr=err)
                _wait_for_sockets(m, server, directory)
            with open(f"{directory}/qemu.err", "wb") as err:
                machine = _start(qemu_command(m, directory), stdout=subprocess.PIPE, stderr=err)
            reader = threading.Thread(target=_collect, args=(machine, m, result), daemon=True)
            reader.start()
            try:
                result.exit_code = machine.wait(m.timeout)
            except subprocess.TimeoutExpired:
                result.timed_out = True
                result.exit_code = _end(machine, 0)
            reader.join(5)
            if server:
                try:  # it ends with its last client
                    result.server_exit = server.wait(5)
                except subprocess.TimeoutExpired:
                    result.server_exit = _end(server, 2)
        finally:
            for process in (machine, server):
                if process:
                    _end(process, 0)
                    result.pids.append(process.pid)
            if machine:
                machine.stdout.close()
            result.server_log = _text(f"{directory}/server.log") + _text(f"{directory}/server.err")
            result.qemu_log = _text(f"{directory}/qemu.err")
            stats = _text(f"{directory}/server.stats")
    result.seconds = time.monotonic() - started
    result.serial = "\n".join(result.lines)
    if result.exit_code is not None and result.exit_code > 0 and result.exit_code & 1:
        result.debug_exit = result.exit_code >> 1
    result.complaints = [l for l in result.server_log.splitlines() if l.startswith("COMPLAINT ")]
    result.stats = {k: int(v) for k, v in (l.split() for l in stats.splitlines())}
    return result


def print_config(build):
    """What the unit shows without further options: version, cap, ecap, haw."""
    out = subprocess.run([os.path.join(build, "tests/device-server"), "--print-config"], check=True,
                         capture_output=True, text=True).stdout
    return {k: int(v, 0) for k, v in (l.split() for l in out.splitlines())}


def main():
    """qemu.py IMAGE [option of QEMU ...]: boot an image and show its console (for a person)."""
    if len(sys.argv) < 2:
        sys.exit("usage: qemu.py IMAGE [QEMU OPTION]...")
    result = run(Machine(image=sys.argv[1], qemu=sys.argv[2:], timeout=300,
                         on_line=lambda line: print(line, flush=True)))
    print(result.qemu_log + result.server_log, end="", file=sys.stderr)
    print(f"QEMU {result.exit_code}, device-server {result.server_exit}, {result.seconds:.1f} s",
          file=sys.stderr)


if __name__ == "__main__":
    main()
