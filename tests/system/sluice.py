# SPDX-License-Identifier: BSD-2-Clause
"""Boot Sluice on the test machine with a configuration, and read what its console says."""
import os
import re
import subprocess
import tempfile

import bochs
import qemu

# "[   0.123456] area: text" of the hypervisor, "[alpha] text" of a guest.
_GUEST = re.compile(r"^\[([a-z0-9_-]+)\] (.*)$")


def default_config():
    with open("guest/sluice.cfg", encoding="ascii") as f:
        return f.read()


def make_image(build, path, config, extra=()):
    """A disk image as `make image` makes it, with another configuration. extra: (source, name)."""
    guests = sorted(g for g in os.listdir(f"{build}/guests") if g.endswith(".elf"))
    with tempfile.NamedTemporaryFile("w", suffix=".cfg", encoding="latin-1") as f:
        f.write(config)
        f.flush()
        command = ["tools/mkimage", path, "--cfg", f.name,
                   "--add", f"{build}/BOOTX64.EFI=EFI/BOOT/BOOTX64.EFI",
                   "--add", f"{build}/sluice.stripped.elf=sluice/sluice.elf"]
        for g in guests:
            command += ["--add", f"{build}/guests/{g}=sluice/{g}"]
        for source, name in extra:
            command += ["--add", f"{source}=sluice/{name}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def guest_lines(lines, name=None):
    """(guest, text) of each console line of a guest."""
    for line in lines:
        m = _GUEST.match(line)
        if m and (name is None or m[1] == name):
            yield m[1], m[2]


def summaries(lines):
    """{guest: {key: value}} of the lines "@summary KEY VALUE"; Sluice's own, "@hv GUEST KEY VALUE", as
    "hv.KEY", and as KEY where the guest cannot know."""
    found = {}
    for guest, text in guest_lines(lines):
        words = text.split()
        if len(words) == 3 and words[0] == "@summary":
            found.setdefault(guest, {})[words[1]] = int(words[2])
    for line in lines:
        m = re.search(r"@hv (\S+) (\S+) (\d+)$", line)
        if m:
            of = found.setdefault(m[1], {})
            of[f"hv.{m[2]}"] = int(m[3])
            of.setdefault(m[2], int(m[3]))
    return found


def guest_tests(lines, name):
    """[(test, good, text)] of the lines "@test NAME ok" and "@test NAME FAILED ..."."""
    found = {}
    for _, text in guest_lines(lines, name):
        words = text.split(maxsplit=3)
        if len(words) >= 3 and words[0] == "@test":
            good = words[2] == "ok" and found.get(words[1], (True, ""))[0]
            found[words[1]] = (good, text)
    return [(test, good, text) for test, (good, text) in found.items()]


def ended(lines, name):
    """How Sluice says the guest ended, e.g. "shutdown code 0"; None: it did not."""
    for line in lines:
        m = re.search(rf"vm: {re.escape(name)}: ended: ([^;]*)", line)
        if m:
            return m[1].strip()
    return None


def describe(r):
    """All that a person needs to see why a run went wrong."""
    tail = "\n".join(r.lines[-80:])
    return (f"{tail}\n--- QEMU: exit {r.exit_code}{', TIMED OUT' if r.timed_out else ''}, "
            f"{r.seconds:.1f} s\n{r.qemu_log}--- devices: exit {r.server_exit}\n"
            + "\n".join(r.complaints[:20]))


def boot(build, config=None, extra=(), **machine):
    """Boot with @config (text; None: the image as built). Further arguments are qemu.Machine's."""
    if config is None:
        return qemu.run(qemu.Machine(build=build, image=f"{build}/sluice.img", **machine))
    with tempfile.TemporaryDirectory(prefix="sluice-image-") as directory:
        image = f"{directory}/sluice.img"
        make_image(build, image, config, extra)
        return qemu.run(qemu.Machine(build=build, image=image, **machine))


def boot_bochs(build, config, extra=(), **machine):
    """The same on Bochs. Further arguments are bochs.Machine's."""
    with tempfile.TemporaryDirectory(prefix="sluice-image-") as directory:
        image = f"{directory}/sluice.img"
        make_image(build, image, config, extra)
        return bochs.run(bochs.Machine(image=image, **machine))
