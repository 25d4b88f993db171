"""Machines on a bad network, for tests: network namespaces joined by a wire that loses, delays, swaps and dies.

The wire is a process (``bad_path.py``) that owns namespaces and devices; nothing of them has a name, so nothing is left
when it ends, whatever a test does. Whatever is started ``inside`` a machine (sockets, processes, threads) lives there.
Where namespaces cannot be made, the test is skipped and says why. No ``netem``: many kernels have none, and its losses
could not be repeated.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

WIRE = Path(__file__).with_name("bad_path.py")
DEVICE = "wire0"
_CLONE_NEWNET = 0x40000000
_END_LIMIT_S = 10


@dataclass(frozen=True)
class Conditions:
    """What a direction does to its packets: the share that is lost; a delay, and up to ``jitter_ms`` more (evenly
    spread, so that packets overtake each other); whether it lets nothing through, or no UDP, or UDP to some ports."""

    loss: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    blocked: Literal["", "udp", "all"] = ""
    udp_ports: tuple[int, int] | None = None


@dataclass(frozen=True)
class Carried:
    """Packets of one direction so far."""

    carried: int
    lost: int
    blocked: int
    reordered: int


GOOD = Conditions()
DEAD = Conditions(blocked="all")


def why_not() -> str | None:
    """What namespaces are missing here; None where they can be made."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "not root"
    if shutil.which("ip") is None:
        return "ip (iproute2) is not installed"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "no /dev/net/tun"
    # In a process of its own: a container may be root and yet not allowed to.
    probe = f"import ctypes; raise SystemExit(ctypes.CDLL(None).unshare({_CLONE_NEWNET}) != 0)"
    if subprocess.run([sys.executable, "-c", probe], check=False).returncode:
        return "no network namespace can be made here"
    return None


class Network:
    """Machines by name. Every change is in force when its call returns."""

    def __init__(self, process: subprocess.Popen[str], machines: Mapping[str, Sequence[str]]) -> None:
        self._process = process
        self._machines = machines
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the wire did not come up; see its words above")
        self._namespaces = {
            name: os.open(f"/proc/{process.pid}/fd/{number}", os.O_RDONLY) for name, number in json.loads(line).items()
        }

    def address(self, name: str) -> str:
        """A machine's first address."""
        return self._machines[name][0]

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """This thread, and what it starts, on a machine."""
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _enter(self._namespaces[name])
            try:
                yield
            finally:
                _enter(back)
        finally:
            os.close(back)

    def between(self, a: str, b: str, conditions: Conditions = GOOD) -> None:
        """From now on, in both directions. What is on its way already still arrives."""
        self._tell(directions=[(a, b), (b, a)], conditions=asdict(conditions))

    def towards(self, a: str, b: str, conditions: Conditions = GOOD) -> None:
        """From now on, for what ``a`` sends to ``b``."""
        self._tell(directions=[(a, b)], conditions=asdict(conditions))

    def carried(self, a: str, b: str) -> Carried:
        """What went from one machine to the other, and what did not."""
        return Carried(**self._tell()[f"{a} {b}"])

    def move(self, name: str, address: str) -> None:
        """Give a machine another address; the one of the same IP version that it had is gone."""
        with self.inside(name):
            old = [one for one in self._machines[name] if (":" in one) == (":" in address)]
            bits = 128 if ":" in address else 32
            _ip("address", "add", f"{address}/{bits}", "dev", DEVICE, *(["nodad"] if bits == 128 else []))
            for one in old:
                _ip("address", "del", f"{one}/{bits}", "dev", DEVICE)
        self._tell(moved=(name, address))
        others = [one for one in self._machines[name] if one not in old]
        self._machines = {**self._machines, name: (address, *others)}

    def close(self) -> None:
        """The end of the wire and, once nobody lives there any more, of the machines."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        for namespace in self._namespaces.values():
            os.close(namespace)
        self._process.wait(_END_LIMIT_S)

    def _tell(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))


@contextmanager
def network(
    machines: Mapping[str, Sequence[str]], *, seed: int = 1, translated: Mapping[str, str] | None = None
) -> Iterator[Network]:
    """Machines by their addresses, on a good network. ``translated`` are addresses by what the others know them as:
    an address translator one to one (IPv4)."""
    if reason := why_not():
        pytest.skip(f"no network namespaces: {reason}")
    layout = {"machines": machines, "seed": seed, "translated": translated or {}}
    process = subprocess.Popen(
        [sys.executable, str(WIRE), json.dumps(layout)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        made = Network(process, machines)
        try:
            yield made
        finally:
            made.close()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(_END_LIMIT_S)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "the network namespace cannot be entered")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
