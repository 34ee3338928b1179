#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the device server by the vfio-user protocol alone: no QEMU. The test is the client, and
its memory file is the guest's memory.

usage: [SLUICE_BUILD=DIR] test_device_server.py [option of unittest]...
"""
import array
import json
import mmap
import os
import socket
import struct
import subprocess
import tempfile
import time
import unittest

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO, _, IRQ_INFO, SET_IRQS, READ, WRITE, _, DMA_WRITE, \
    RESET, DIRTY_PAGES, WRITE_MULTI = range(1, 16)
REPLY, NO_REPLY, ERROR = 1, 0x10, 0x20
BAR0, CONFIG = 0, 7
MEMORY = 1 << 20
SERVER = os.path.join(os.environ.get("SLUICE_BUILD", "build"), "tests/device-server")


class Client:
    """One connection of a vfio-user client."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(5)
        self.sock.connect(path)
        self.id = 0
        self.messages = []  # requests of the server: (command, body)

    def send(self, command, body=b"", flags=0, fds=()):
        self.id = (self.id + 1) & 0xFFFF
        data = struct.pack("<HHIII", self.id, command, 16 + len(body), flags, 0) + body
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([data], ancillary)
        return self.id

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.sock.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def receive(self):
        ident, command, size, flags, error = struct.unpack("<HHIII", self._exactly(16))
        return ident, command, flags, error, self._exactly(size - 16)

    def call(self, command, body=b"", fds=()):
        """The reply's body; OSError with the server's errno."""
        wanted = self.send(command, body, 0, fds)
        while True:
            ident, got, flags, error, reply = self.receive()
            if not flags & REPLY:
                self.messages.append((ident, got, reply))
                continue
            assert ident == wanted and got == command
            if flags & ERROR:
                raise OSError(error, os.strerror(error))
            return reply

    def read(self, region, offset, size):
        reply = self.call(READ, struct.pack("<QII", offset, region, size))
        return int.from_bytes(reply[16:], "little")

    def write(self, region, offset, size, value):
        self.call(WRITE, struct.pack("<QII", offset, region, size) + value.to_bytes(size, "little"))

    def version(self):
        return self.call(VERSION, struct.pack("<HH", 0, 0) + b'{"capabilities":{}}\0')

    def dma_map(self, fd, addr, size, offset=0, flags=3):
        self.call(DMA_MAP, struct.pack("<IIQQQ", 32, flags, offset, addr, size), [fd])


class DeviceServer(unittest.TestCase):
    options = ()

    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.paths = {n: os.path.join(self.dir.name, n) for n in ("unit", "a", "b", "log", "stats")}
        p = self.paths
        self.server = subprocess.Popen(
            [SERVER, "--log", p["log"], "--stats", p["stats"], *self.options, "--unit", p["unit"],
             "--accel", f"name=a,rid=00:04.0,socket={p['a']}",
             "--accel", f"name=b,rid=00:05.0,socket={p['b']}"])
        self.addCleanup(self.stop)
        deadline = time.monotonic() + 5
        while not os.path.exists(p["b"]):
            self.assertLess(time.monotonic(), deadline, "no socket")
            time.sleep(0.01)
        self.fd = os.memfd_create("guest")
        self.addCleanup(os.close, self.fd)
        os.ftruncate(self.fd, MEMORY)
        self.memory = mmap.mmap(self.fd, MEMORY)
        self.addCleanup(self.memory.close)
        self.clients = []

    def stop(self):
        for client in self.clients:
            client.sock.close()
        if self.server.poll() is None:
            self.server.terminate()
        return self.server.wait(timeout=5)

    def connect(self, name):
        client = Client(self.paths[name])
        self.clients.append(client)
        client.version()
        return client

    def machine(self):
        """Unit and accelerator a, connected, with memory at 0x100000."""
        unit, accel = self.connect("unit"), self.connect("a")
        for client in (unit, accel):
            client.dma_map(self.fd, 0x100000, MEMORY)
            client.write(CONFIG, 4, 2, 6)
        return unit, accel

    def submit(self, accel, op, source, destination, size, flags=0, pattern=0, record=0x110000):
        words = struct.pack("<IBBHQQQQQQQ", 0, op, flags, 0, source, destination, size, pattern,
                            record, 0x5EED, 0)
        accel.write(BAR0, 8, 8, 1)
        for i in range(0, 64, 8):
            accel.write(BAR0, 0x1000 + i, 8, int.from_bytes(words[i:i + 8], "little"))

    def record(self, at=0x10000):
        deadline = time.monotonic() + 5
        while self.memory[at] == 0:
            self.assertLess(time.monotonic(), deadline, "no completion record")
            time.sleep(0.001)
        return struct.unpack("<BBHIQQQ", self.memory[at:at + 32])

    def log(self):
        with open(self.paths["log"], encoding="utf-8") as f:
            return f.read()

    def stats(self):
        with open(self.paths["stats"], encoding="utf-8") as f:
            return {key: int(value) for key, value in (line.split() for line in f)}


class Protocol(DeviceServer):
    def test_discovery(self):
        client = self.connect("a")
        reply = client.version()
        self.assertEqual(struct.unpack_from("<HH", reply), (0, 0))
        self.assertTrue(reply.endswith(b"\0"))
        self.assertIn("max_msg_fds", json.loads(reply[4:-1])["capabilities"])
        with self.assertRaises(OSError):
            client.call(VERSION, struct.pack("<HH", 1, 0) + b"{}\0")
        info = struct.unpack("<IIII", client.call(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)))
        self.assertEqual(info, (16, 3, 9, 5))
        sizes = [struct.unpack("<IIIIQQ", client.call(REGION_INFO, struct.pack(
            "<IIIIQQ", 32, 0, i, 0, 0, 0)))[4] for i in range(9)]
        self.assertEqual(sizes, [0x4000, 0, 0, 0, 0, 0, 0, 4096, 0])
        irq = struct.unpack("<IIII", client.call(IRQ_INFO, struct.pack("<IIII", 16, 0, 1, 0)))
        self.assertEqual(irq[3], 0)
        for command in (DIRTY_PAGES, 99):
            with self.assertRaises(OSError):
                client.call(command)
        self.assertEqual(client.read(CONFIG, 0, 4), 0x51051B36)
        self.assertEqual(self.connect("unit").read(CONFIG, 0, 4), 0x51061B36)

    def test_region_bounds(self):
        client = self.connect("a")
        for region, offset, size in ((BAR0, 0x4000, 4), (BAR0, 0x3FFC, 8), (CONFIG, 4094, 4),
                                     (1, 0, 4), (99, 0, 4), (BAR0, 2**64 - 4, 8), (BAR0, 0, 0)):
            with self.assertRaises(OSError, msg=f"{region} {offset:#x}"):
                client.read(region, offset, size)
        with self.assertRaises(OSError):  # count and data differ
            client.call(WRITE, struct.pack("<QII", 0, BAR0, 8) + b"1234")
        self.assertEqual(client.read(BAR0, 0, 8), 0x000151054C53)

    def test_posted_and_multiple_writes(self):
        client = self.connect("a")
        client.send(WRITE, struct.pack("<QII", 0x100, BAR0, 8) + b"\x18\0\xe0\xfe\0\0\0\0", NO_REPLY)
        self.assertEqual(client.read(BAR0, 0x100, 8), 0xFEE00018)
        ones = b"".join(struct.pack("<QIIQ", 0x100 + 16 * i, BAR0, 8, 0xFEE00000 + 4 * i)
                        for i in range(3))
        client.send(WRITE_MULTI, struct.pack("<Q", 3) + ones, NO_REPLY)
        self.assertEqual([client.read(BAR0, 0x100 + 16 * i, 8) for i in range(3)],
                         [0xFEE00000, 0xFEE00004, 0xFEE00008])
        with self.assertRaises(OSError):
            client.call(WRITE_MULTI, struct.pack("<Q", 4) + ones)

    def test_garbage_closes_only_that_connection(self):
        bad, good = self.connect("a"), self.connect("b")
        bad.sock.sendall(struct.pack("<HHIII", 1, 9, 0xFFFFFFFF, 0, 0))
        self.assertEqual(bad.sock.recv(1), b"")
        self.assertEqual(good.read(BAR0, 0x40, 8), 64)
        self.assertEqual(self.connect("a").read(BAR0, 0x40, 8), 64)

    def test_split_messages(self):
        client = self.connect("a")
        data = struct.pack("<HHIIIQII", 77, READ, 32, 0, 0, 0, BAR0, 8)
        for byte in data:
            client.sock.sendall(bytes([byte]))
        self.assertEqual(client.receive()[0], 77)


class Machine(DeviceServer):
    def test_copy_and_statistics(self):
        _, accel = self.machine()
        self.memory[0x20000:0x22000] = bytes(i * 7 & 0xFF for i in range(0x2000))
        self.submit(accel, 1, 0x120003, 0x130005, 0x1800)
        self.assertEqual(self.record(), (1, 0, 0, 0, 0x1800, 0, 0x5EED))
        self.assertEqual(self.memory[0x30005:0x31805], self.memory[0x20003:0x21803])
        self.assertEqual(self.stop(), 0)
        stats = self.stats()
        self.assertEqual(stats["accel-a.bytes"], 0x3000)
        self.assertEqual(stats["accel-a.descriptors"], 1)
        self.assertEqual(stats["accel-b.descriptors"], 0)
        self.assertEqual(stats["complaints"], 0)

    def test_map_with_offset_readonly_and_unmap(self):
        _, accel = self.connect("unit"), self.connect("a")
        unit = self.clients[0]
        unit.dma_map(self.fd, 0x100000, 0x18000)                  # record
        unit.dma_map(self.fd, 0x800000, 0x1000, 0x40000)          # a window at an offset
        unit.dma_map(self.fd, 0x900000, 0x1000, 0x50000, 1)       # read only
        with self.assertRaises(OSError):
            unit.dma_map(self.fd, 0x800800, 0x1000, 0x60000)      # overlaps
        accel.write(CONFIG, 4, 2, 6)
        self.submit(accel, 2, 0, 0x800000, 8, pattern=0x4142434445464748)
        self.assertEqual(self.record()[0], 1)
        self.assertEqual(self.memory[0x40000:0x40008], b"HGFEDCBA")
        for destination, unmap in ((0x900000, None), (0x800000, 0x800000)):
            if unmap:
                unit.call(DMA_UNMAP, struct.pack("<IIQQ", 24, 0, unmap, 0x1000))
                with self.assertRaises(OSError):
                    unit.call(DMA_UNMAP, struct.pack("<IIQQ", 24, 0, unmap, 0x1000))
            self.memory[0x10000] = 0
            self.submit(accel, 2, 0, destination, 8)
            self.assertEqual(self.record()[0], 2)

    def test_interrupt_is_a_message_and_never_waits(self):
        unit, accel = self.machine()
        accel.write(BAR0, 0x100, 8, 0xFEE01000)
        accel.write(BAR0, 0x108, 8, 0x41)
        for _ in range(3):  # no answer to the messages, and the server goes on
            self.memory[0x10000] = 0
            self.submit(accel, 0, 0, 0, 0, flags=4)
            self.assertEqual(self.record()[0], 1)
        for _ in range(3):
            ident, command, flags, _, body = unit.receive()
            self.assertEqual((command, flags), (DMA_WRITE, 0))
            self.assertEqual(struct.unpack("<QQI", body), (0xFEE01000, 4, 0x41))
            unit.sock.sendall(struct.pack("<HHIII", ident, command, 16, REPLY | ERROR, 19))
        unit.read(BAR0, 0, 4)
        self.stop()
        self.assertEqual(self.stats()["unit.interrupts_refused"], 3)
        self.assertIn("Bus Master", self.log())

    def test_unit_registers(self):
        unit, _ = self.machine()
        self.assertNotEqual(unit.read(BAR0, 8, 8), 0)
        self.assertEqual(unit.read(BAR0, 8, 8) & 0xFFFFFFFF, unit.read(BAR0, 8, 4))
        unit.read(BAR0, 0, 2)
        self.assertEqual(self.stop(), 3)
        self.assertIn("COMPLAINT unit mmio-size: ", self.log())

    def test_complaint_of_an_accelerator(self):
        _, accel = self.machine()
        accel.write(CONFIG, 0x114, 2, 1)  # PRI on, ATS off
        self.assertEqual(self.stop(), 3)
        self.assertIn("COMPLAINT accel-a pri-without-ats: ", self.log())

    def test_reset_and_reconnection(self):
        unit, accel = self.machine()
        accel.write(BAR0, 0x100, 8, 0xFEE01000)
        accel.call(RESET)
        self.assertEqual(accel.read(BAR0, 0x100, 8), 0)
        self.assertEqual(accel.read(CONFIG, 4, 2), 0)
        accel.write(BAR0, 0x100, 8, 0xFEE01000)
        unit.sock.close()
        accel.sock.close()
        unit, accel = self.machine()
        self.assertEqual(accel.read(BAR0, 0x100, 8), 0)
        self.submit(accel, 2, 0, 0x130000, 16, pattern=1)
        self.assertEqual(self.record()[0], 1)

    def test_idle_costs_nothing(self):
        self.machine()
        time.sleep(0.2)
        ticks = []
        for _ in range(2):
            with open(f"/proc/{self.server.pid}/stat", encoding="ascii") as f:
                ticks.append(sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13])))
            time.sleep(1)
        self.assertLessEqual(ticks[1] - ticks[0], 2)


class Once(DeviceServer):
    options = ("--once", "--sync", "--trace")

    def test_ends_with_the_last_client_and_syncs(self):
        unit, accel = self.machine()
        self.submit(accel, 2, 0, 0x140000, 4 << 12, pattern=0x0101010101010101)
        self.assertEqual(self.memory[0x10000], 1)  # done when the write was answered
        unit.sock.close()
        accel.sock.close()
        self.assertEqual(self.server.wait(timeout=5), 0)
        self.assertIn("TRACE accel-a write bar+0x1038/8", self.log())


if __name__ == "__main__":
    unittest.main()
