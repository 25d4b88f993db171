"""Real telephones for tests: baresip without a head, told what to do over its control port, hearing into a file.

The phone speaks a WAV file (its silence after it keeps the line open) and writes what it hears beside it. Debian's
package ``baresip-core`` is all it needs; tests skip where it is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio.codecs.resample import StreamResampler
from audio.formats import Samples

MODULES = Path("/usr/lib/baresip/modules")
START_LIMIT_S = 20.0
END_LIMIT_S = 10.0
_CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{port}
{certificate}
audio_source aufile,{said}
audio_player aubridge,none
snd_path {directory}
module_path {modules}
ctrl_tcp_listen 127.0.0.1:{control}
{loaded}
"""


def require_baresip() -> None:
    """Skip the test where there is no phone."""
    if shutil.which("baresip") is None or not MODULES.is_dir():
        pytest.skip("baresip is not installed (Debian, Ubuntu: apt-get install baresip-core)")


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_phone_port() -> int:
    """One that is free for both protocols, the next being free for TLS: a phone takes them all, below those that
    connections are given."""
    for port in range(20_000 + os.getpid() % 5_000, 30_000, 2):
        with ExitStack() as probes:
            try:
                for kind, at in ((socket.SOCK_DGRAM, port), (socket.SOCK_STREAM, port), (socket.SOCK_STREAM, port + 1)):
                    probes.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", at))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


@cache
def _certificate_in(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    (directory / "both.pem").write_text(certificate.read_text() + key.read_text())
    return certificate, key


def certificate_in(directory: Path) -> tuple[Path, Path]:
    """A certificate for this machine and its key (and ``both.pem``); skips where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    return _certificate_in(directory)


@dataclass
class Baresip:
    """A phone that runs."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    directory: Path
    port: int
    events: list[dict[str, Any]] = field(default_factory=list)
    _bytes: bytes = b""

    def command(self, name: str, parameters: str = "") -> None:
        """Do something; what comes of it is told by events."""
        data = json.dumps({"command": name, "params": parameters, "token": "t"}).encode()
        self.control.sendall(b"%d:%s," % (len(data), data))

    def until(self, kind: str, within_s: float = 15.0, after: int = 0) -> dict[str, Any]:
        """The first event of this type (the ``after``-th is passed over)."""

        def found() -> dict[str, Any] | None:
            matching = [event for event in self.events if event.get("type") == kind]
            return matching[after] if len(matching) > after else None

        limit_s = time.monotonic() + within_s
        while (event := found()) is None:
            left_s = limit_s - time.monotonic()
            assert left_s > 0, f"no {kind} among {[event.get('type') for event in self.events]}:\n{self.log()}"
            self._read(min(left_s, 0.5))
        return event

    def count(self, kind: str) -> int:
        self._read(0.01)
        return sum(event.get("type") == kind for event in self.events)

    def heard(self) -> Samples:
        """All it heard so far, at 16 kHz, in the order of its files."""
        parts: list[Samples] = [np.zeros(0, np.int16)]
        for path in sorted(self.directory.glob("dump-*-dec.wav")):
            data = path.read_bytes()
            if len(data) < 46:
                continue
            # While it is being written its header does not say how long it is.
            channels, rate_hz = data[22], int.from_bytes(data[24:28], "little")
            payload = data[44 : 44 + (len(data) - 44) // 2 * 2]
            resampler = StreamResampler(rate_hz, 16_000)
            samples = np.frombuffer(payload[: len(payload) // (2 * channels) * 2 * channels], np.int16)[::channels]
            parts += [resampler.process(samples), resampler.flush()]
        return np.concatenate(parts)

    def log(self) -> str:
        text = (self.directory / "log").read_text(errors="replace").replace("\r", "\n")
        return "\n".join(line for line in text.splitlines() if line.strip() and "audio=" not in line)

    def _read(self, wait_s: float) -> None:
        self.control.settimeout(wait_s)
        try:
            self._bytes += self.control.recv(65_536)
        except TimeoutError:
            return
        while b":" in self._bytes:
            length, _, rest = self._bytes.partition(b":")
            size = int(length)
            if len(rest) <= size:
                return
            self.events.append(json.loads(rest[:size]))
            self._bytes = rest[size + 1 :]


@dataclass(frozen=True)
class PhoneOptions:
    """``account`` are baresip's own parameters of an account, such as ``;audio_codecs=pcmu;mediaenc=srtp``."""

    account: str = ""
    user: str = "phone"
    certificate: Path | None = None


def write_speech(path: Path, samples: Samples, rate_hz: int = 16_000) -> Path:
    """Samples at 16 kHz as a WAV file for a phone of this rate: stereo at 48 kHz, where Opus wants it."""
    channels = 2 if rate_hz == 48_000 else 1
    path.parent.mkdir(parents=True, exist_ok=True)
    resampler = StreamResampler(16_000, rate_hz)
    converted = np.concatenate([resampler.process(samples), resampler.flush()])
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.repeat(converted, channels).tobytes())
    return path


@contextmanager
def baresip(directory: Path, said: Path, options: PhoneOptions | None = None) -> Iterator[Baresip]:
    """A phone that says ``said`` in each call, until the body ends."""
    require_baresip()
    options = options or PhoneOptions()
    directory.mkdir(parents=True, exist_ok=True)
    port, control = free_phone_port(), free_port()
    modules = "g711 g722 opus aufile aubridge sndfile srtp dtls_srtp ice account menu ctrl_tcp".split()
    config = _CONFIG.format(
        port=port,
        certificate=f"sip_certificate {options.certificate}" if options.certificate else "",
        said=said,
        directory=directory,
        modules=MODULES,
        control=control,
        loaded="\n".join(f"module {name}.so" for name in modules if (MODULES / f"{name}.so").is_file()),
    )
    (directory / "config").write_text(config)
    (directory / "accounts").write_text(f"<sip:{options.user}@127.0.0.1>;regint=0{options.account}\n")
    (directory / "contacts").write_text("")
    with (directory / "log").open("wb") as log:
        command = ["baresip", "-4", "-f", str(directory)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory)
    try:
        phone = Baresip(process, _connect(process, control, directory), directory, port)
        with phone.control:
            yield phone
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program, by force where it takes too long."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(END_LIMIT_S)


def _connect(process: subprocess.Popen[bytes], port: int, directory: Path) -> socket.socket:
    limit_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit_s and process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=2)
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"baresip did not start:\n{(directory / 'log').read_text(errors='replace')}")


def eventually(happened: Callable[[], object], within_s: float = 20.0, why: Callable[[], str] = str) -> None:
    """Return once it has happened."""
    limit_s = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < limit_s, why()
        time.sleep(0.05)
