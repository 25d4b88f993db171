"""The wire between the machines of ``netns``: a process that owns their network namespaces and carries every packet.

Run as ``python bad_path.py`` with a layout on its command line; takes commands, one JSON object a line, and answers
each with what it has carried so far. Ends, and with it every namespace and device, when its standard input does, and
after ``LIFE_S`` in any case. Each machine has one TUN device; packets are IPv4 or IPv6, with no Ethernet around them.
Loss, delay and jitter come from a random generator of each direction's own, seeded. Standard library only.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import ipaddress
import json
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time
from typing import Any

LIFE_S = 300
DEVICE = "wire0"
MTU = 1400

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_UDP, _TCP = 17, 6
_CHECKSUM_AT = {_UDP: 6, _TCP: 16}


class Machine:
    """A namespace with a TUN device, made by entering it."""

    def __init__(self, name: str, addresses: list[str]) -> None:
        self.name = name
        _enter_new_namespace()
        self.namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.tun, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
        _ip("link", "set", "lo", "up")
        for address in addresses:
            bits = 128 if ":" in address else 32
            _ip("address", "add", f"{address}/{bits}", "dev", DEVICE, *(["nodad"] if bits == 128 else []))
        _ip("link", "set", DEVICE, "mtu", str(MTU), "up")
        if any("." in address for address in addresses):
            _ip("route", "add", "default", "dev", DEVICE)
        if any(":" in address for address in addresses):
            _ip("-6", "route", "add", "default", "dev", DEVICE)


class Direction:
    """What happens to packets from one machine to another."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self.loss = 0.0
        self.delay_ms = 0.0
        self.jitter_ms = 0.0
        self.blocked = ""
        self.udp_ports: list[int] | None = None
        self.counts = {"carried": 0, "lost": 0, "blocked": 0, "reordered": 0}
        self._latest_s = 0.0

    def due_s(self, udp_port: int | None, now_s: float) -> float | None:
        """When a packet (to a port, if it is UDP) arrives; None where it does not."""
        if not self._let_through(udp_port):
            self.counts["blocked"] += 1
            return None
        lost, wait = self._random.random() < self.loss, self._random.random()
        if lost:
            self.counts["lost"] += 1
            return None
        due_s = now_s + (self.delay_ms + wait * self.jitter_ms) / 1_000
        self.counts["carried"] += 1
        self.counts["reordered"] += due_s < self._latest_s
        self._latest_s = max(self._latest_s, due_s)
        return due_s

    def _let_through(self, udp_port: int | None) -> bool:
        if self.blocked == "all" or (self.blocked == "udp" and udp_port is not None):
            return False
        return udp_port is None or self.udp_ports is None or self.udp_ports[0] <= udp_port <= self.udp_ports[1]


class Wire:
    """Every machine, and every direction between them."""

    def __init__(self, layout: dict[str, Any]) -> None:
        self._machines = [Machine(name, addresses) for name, addresses in layout["machines"].items()]
        self._at = {
            ipaddress.ip_address(address).packed: machine
            for machine in self._machines
            for address in layout["machines"][machine.name]
        }
        self._public = {_packed(inside): _packed(outside) for inside, outside in layout["translated"].items()}
        self._private = {outside: inside for inside, outside in self._public.items()}
        names = list(layout["machines"])
        self._directions = {(a, b): Direction(f"{layout['seed']} {a} {b}") for a in names for b in names if a != b}
        self._due: list[tuple[float, int, int, bytes]] = []
        self._count = 0

    def run(self) -> None:
        """Until standard input ends."""
        print(json.dumps({machine.name: machine.namespace for machine in self._machines}), flush=True)
        poll = select.poll()
        by_tun = {machine.tun: machine for machine in self._machines}
        for fd in (0, *by_tun):
            poll.register(fd, select.POLLIN)
        while True:
            wait_ms = None if not self._due else max(0.0, (self._due[0][0] - time.monotonic()) * 1_000)
            for fd, _ in poll.poll(wait_ms):
                if fd in by_tun:
                    self._take(by_tun[fd])
                elif not self._obey():
                    return
            self._deliver()

    def _take(self, sender: Machine) -> None:
        while True:
            try:
                packet = os.read(sender.tun, 65_536)
            except BlockingIOError:
                return
            self._carry(sender, packet)

    def _carry(self, sender: Machine, packet: bytes) -> None:
        version = packet[0] >> 4
        protocol = packet[9] if version == 4 else packet[6]
        source, target = (slice(12, 16), slice(16, 20)) if version == 4 else (slice(8, 24), slice(24, 40))
        if packet[target] in self._private:
            packet = readdressed(packet, target, self._private[packet[target]], protocol)
        elif packet[target] in self._public:
            return  # behind the translator: nobody outside has a way to it
        receiver = self._at.get(packet[target])
        if receiver is None or receiver is sender:
            return
        if packet[source] in self._public:
            packet = readdressed(packet, source, self._public[packet[source]], protocol)
        header = 4 * (packet[0] & 15) if version == 4 else 40
        port = int.from_bytes(packet[header + 2 : header + 4], "big") if protocol == _UDP else None
        due_s = self._directions[sender.name, receiver.name].due_s(port, time.monotonic())
        if due_s is not None:
            self._count += 1
            heapq.heappush(self._due, (due_s, self._count, receiver.tun, packet))

    def _deliver(self) -> None:
        now_s = time.monotonic()
        while self._due and self._due[0][0] <= now_s:
            _, _, tun, packet = heapq.heappop(self._due)
            try:
                os.write(tun, packet)
            except OSError:  # what a wire does with a packet that nobody takes
                continue

    def _obey(self) -> bool:
        line = sys.stdin.readline()
        if not line:
            return False
        command = json.loads(line)
        if "moved" in command:
            name, address = command["moved"]
            machine = next(one for one in self._machines if one.name == name)
            self._at = {
                at: one for at, one in self._at.items() if one is not machine or len(at) != len(_packed(address))
            }
            self._at[_packed(address)] = machine
        for a, b in command.get("directions", []):
            for name, value in command["conditions"].items():
                setattr(self._directions[a, b], name, value)
        counts = {f"{a} {b}": one.counts for (a, b), one in self._directions.items()}
        print(json.dumps(counts), flush=True)
        return True


def readdressed(packet: bytes, where: slice, address: bytes, protocol: int) -> bytes:
    """An IPv4 packet with another address, its checksums made right (RFC 1624)."""
    changed = bytearray(packet)
    before, changed[where] = bytes(packet[where]), address
    spots = [10]
    if protocol in _CHECKSUM_AT:
        spots.append(4 * (packet[0] & 15) + _CHECKSUM_AT[protocol])
    for at in spots:
        total = ~int.from_bytes(packet[at : at + 2], "big") & 0xFFFF
        for old, new in zip(struct.unpack("!2H", before), struct.unpack("!2H", address), strict=True):
            total += (~old & 0xFFFF) + new
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        changed[at : at + 2] = (~total & 0xFFFF).to_bytes(2, "big")
    return bytes(changed)


def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _enter_new_namespace() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace can be made")


if __name__ == "__main__":
    signal.alarm(LIFE_S)
    Wire(json.loads(sys.argv[1])).run()
