"""A telephone that insists on ICE and DTLS-SRTP (baresip) calls us through the gateway that ``infra/sip-gateway`` sets
up: Kamailio and rtpengine as Debian has them, with our files; keys, hold, and both sides hanging up."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio.to_thread
import numpy as np
import pytest
from sip_endpoints import Exchange, eventually, exchange
from sip_phones import PhoneOptions, certificate_in, free_port, require_baresip, stop
from test_sip_baresip import call, phone, presses_holds_and_resumes

pytestmark = pytest.mark.timeout(120)

HERE = Path(__file__).parents[2] / "infra" / "sip-gateway"
ADDRESS = "127.0.0.9"
CONTROL = "127.0.0.1:22222"
SECURE = ";audio_codecs=pcmu;mediaenc=dtls_srtp;medianat=ice"


@contextmanager
def program(log: Path, *command: str, **environment: str) -> Generator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | environment, cwd=log.parent)
    try:
        yield process
    finally:
        stop(process)


@contextmanager
def gateway(directory: Path, port: int) -> Generator[None]:
    """Kamailio and rtpengine, with our files, in front of the endpoint on ``port``."""
    require_baresip()
    missing = [name for name in ("kamailio", "rtpengine") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (Debian: apt-get install kamailio rtpengine-daemon)")
    control = f"{ADDRESS}:{free_port(socket.SOCK_DGRAM)}"
    media = (HERE / "rtpengine.conf").read_text().replace("LISTEN_ADDRESS", ADDRESS)
    assert CONTROL in media
    (directory / "rtpengine.conf").write_text(media.replace(CONTROL, control))
    pid = str(directory / "rtpengine.pid")
    names = {"LISTEN_ADDRESS": ADDRESS, "CONVERGIO": f"127.0.0.1:{port}", "RTPENGINE": f"udp:{control}"}
    kamailio = ["kamailio", "-DD", "-E", "-m", "64", "-Y", str(directory), "-f", str(HERE / "kamailio.cfg")]
    with ExitStack() as running:
        rtpengine = ("rtpengine", "--config-file", str(directory / "rtpengine.conf"), "--pidfile", pid)
        running.enter_context(program(directory / "rtpengine.log", *rtpengine))
        running.enter_context(program(directory / "kamailio.log", *kamailio, **names))
        yield


async def answering() -> None:
    """Return once the gateway does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((ADDRESS, 0))
        probe.setblocking(False)
        port = probe.getsockname()[1]
        asks = (
            f"OPTIONS sip:{ADDRESS} SIP/2.0\r\nVia: SIP/2.0/UDP {ADDRESS}:{port};branch=z9hG4bKhere\r\n"
            f"Max-Forwards: 9\r\nFrom: <sip:t@{ADDRESS}>;tag=t\r\nTo: <sip:{ADDRESS}>\r\nCall-ID: here\r\n"
            "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        with anyio.fail_after(30):
            while True:
                probe.sendto(asks.encode(), (ADDRESS, 5_060))
                await anyio.sleep(0.3)  # whoever asks more often is taken for a flood
                try:
                    if probe.recv(4_096).startswith(b"SIP/2.0 200"):
                        return
                except OSError:
                    continue


@contextmanager
def explained(directory: Path) -> Generator[None]:
    """What the gateway said goes into the report of a test that fails."""
    try:
        yield
    except BaseException:
        for name in ("kamailio.log", "rtpengine.log"):
            print((directory / name).read_text(errors="replace")[-4_000:])
        raise


async def through(server: Exchange, directory: Path, account: str) -> None:
    options = PhoneOptions(account, certificate=directory / "tls" / "both.pem")
    async with phone(directory / "phone", options) as telephone:
        talk = await call(server, telephone, f"sip:agent@{ADDRESS}")
        await eventually(lambda: talk.heard_ms > 2_500)
        assert talk.loudest > 3_000, "the recording is heard"
        await eventually(lambda: len(telephone.heard()) > 2 * 16_000)
        assert int(np.abs(telephone.heard().astype(int)).max()) > 3_000, "and so is its echo"
        await presses_holds_and_resumes(telephone, talk)
        telephone.command("hangup")
        await eventually(talk.over.is_set)
        assert talk.reason == "caller"
        again = await call(server, telephone, f"sip:agent@{ADDRESS}")
        await eventually(lambda: again.heard_ms > 500)
        await again.leg.hang_up("agent")
        await anyio.to_thread.run_sync(lambda: telephone.until("CALL_CLOSED", after=1))
    await server.empty()


@pytest.mark.parametrize("account", [SECURE, ";audio_codecs=pcma"], ids=["ICE and DTLS-SRTP", "plain"])
async def test_a_phone_calls_through_the_gateway(tmp_path: Path, account: str) -> None:
    certificate_in(tmp_path / "tls")
    async with exchange() as server:
        with gateway(tmp_path, server.port()), explained(tmp_path):
            await answering()
            await through(server, tmp_path, account)
