"""Whole conversations through a TURN server, where nothing else lets UDP from the caller to the server.

Server, caller and coturn are three machines (``netns``); between server and caller only TCP goes, for the signalling.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import browser
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCIceServer, RTCIceTransportPolicy
from browser import chromium, needs_chromium, write_wav
from netns import Conditions, Network, network
from real_server import RealServer, scripted_server
from rtc_caller import Caller, call, relay_only
from spoken import said
from turn_relay import turn_server

from audio.formats import HEARING_RATE_HZ
from server.transports.rtc.turn_credentials import TurnCredentials, turn_credentials

if TYPE_CHECKING:
    from playwright.async_api import Page

KEY = "a-secret-of-a-test-0123456789"
SECRET = "north/by+north=west"
SERVER, CLIENT, RELAY = "10.77.0.1", "10.77.0.2", "10.77.0.3"
NO_UDP = Conditions(blocked="udp")
ANSWER = "You said: Go forward ten meters.."

RELAYED = """() => {
  sessionStorage.setItem('convergio-voice.access-key', '%s');
  globalThis.peers = [];
  const Plain = RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Plain {
    constructor(configuration) {
      super({ ...configuration, iceTransportPolicy: 'relay' });
      peers.push(this);
    }
  };
}"""
SELECTED = """async () => {
  const stats = [...(await peers.at(-1).getStats()).values()];
  const pair = stats.find((one) => one.type === 'candidate-pair' && one.nominated && one.state === 'succeeded');
  const inbound = stats.find((one) => one.type === 'inbound-rtp' && one.kind === 'audio');
  const local = stats.find((one) => one.id === pair?.localCandidateId);
  return [local?.candidateType, inbound?.totalAudioEnergy ?? 0];
}"""


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network({"server": [SERVER], "client": [CLIENT], "relay": [RELAY]}) as made:
        made.between("server", "client", NO_UDP)
        yield made


@pytest.fixture(scope="module")
def turn_url(net: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """coturn, on its machine."""
    with ExitStack() as stack:
        with net.inside("relay"):
            url = stack.enter_context(turn_server(RELAY, SECRET, tmp_path_factory.mktemp("coturn")))
        yield url


@contextmanager
def server_of(net: Network, room: Path, **settings: object) -> Iterator[RealServer]:
    """The server on its machine, with scripted engines."""
    with ExitStack() as stack:
        with net.inside("server"):
            keys = json.dumps([KEY])
            running = stack.enter_context(scripted_server(room, host=SERVER, api_keys=keys, **settings))
        yield running


@pytest.fixture(scope="module")
def server(net: Network, turn_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A server that tells its clients of the relay."""
    told = {"webrtc__turn_urls": json.dumps([turn_url]), "webrtc__turn_secret": SECRET}
    with server_of(net, tmp_path_factory.mktemp("server"), **told) as running:
        yield running


@pytest.fixture
def client(net: Network) -> Iterator[None]:
    """The test is run on the caller's machine."""
    with net.inside("client"):
        yield


async def converse(caller: Caller) -> None:
    """Say something, and hear the answer to its end."""
    await caller.start()
    since = caller.ear.position
    await caller.speak(said("cards_001", 0.5))
    turn = await caller.until("turn.started")
    done = await caller.until("chat.complete", request_id=turn["request_id"])
    assert done["text"] == ANSWER
    await caller.heard(since)
    assert caller.of("error") == []
    await caller.hang_up()


def with_credentials(turn_url: str, username: str, password: str) -> RTCConfiguration:
    """What a client would use that came by these."""
    servers = [RTCIceServer([turn_url], username, password)]
    return RTCConfiguration(iceServers=servers, iceTransportPolicy=RTCIceTransportPolicy.RELAY)


async def test_a_caller_reaches_the_server_through_the_relay_it_was_told_of(
    net: Network, server: RealServer, client: None
) -> None:
    ice = await relay_only(server.url, KEY)
    before = net.carried("client", "relay").carried
    async with call(server.url, KEY, ice) as caller:
        assert {line.split()[7] for line in caller.offer.splitlines() if line.startswith("a=candidate")} == {"relay"}
        await converse(caller)
    assert net.carried("client", "relay").carried - before > 100
    assert net.carried("relay", "server").carried > 100


async def test_credentials_that_are_not_good_do_not_connect(turn_url: str, server: RealServer, client: None) -> None:
    now_s = time.time()  # noqa: TID251 - coturn checks the real hour
    expired = turn_credentials(SECRET, "somebody", now_s - 3_600, 600)
    foreign = turn_credentials("south", "somebody", now_s, 600)

    async def fails(made: TurnCredentials) -> None:
        caller = Caller(server.url, KEY, with_credentials(turn_url, made.username, made.password))
        try:
            with pytest.raises(TimeoutError):
                await caller.connect(limit_s=3)
            assert "m=audio" in caller.offer
            assert "a=candidate" not in caller.offer
            assert caller.answer
        finally:
            await caller.close()

    await asyncio.gather(fails(expired), fails(foreign))


async def test_the_server_has_a_relay_of_its_own_to_be_reached_at(
    net: Network, turn_url: str, client: None, tmp_path: Path
) -> None:
    made = turn_credentials(SECRET, "server", time.time(), 600)  # noqa: TID251 - coturn checks the real hour
    relay = f"turn:{quote(made.username, safe='')}:{quote(made.password, safe='')}@{RELAY}:3478"
    with server_of(net, tmp_path, webrtc__relay_url=relay) as server:
        async with call(server.url, KEY) as caller:
            assert f" {RELAY} " in next(line for line in caller.answer.splitlines() if "typ relay" in line)
            await converse(caller)


@asynccontextmanager
async def page_of(server: RealServer, microphone: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Page]:
    """The server's own page, in a browser that takes no way but a relay."""
    secure = f"--unsafely-treat-insecure-origin-as-secure={server.url}"
    monkeypatch.setattr(browser, "FLAGS", [*browser.FLAGS, secure])
    async with chromium(microphone, loop=False) as opened:
        page = await (await opened.new_context()).new_page()
        page.set_default_timeout(20_000)
        await page.add_init_script(f"({RELAYED % KEY})()")
        await page.goto(server.url)
        yield page


@pytest.mark.browser
@needs_chromium
async def test_a_browser_that_takes_nothing_but_a_relay_holds_a_whole_conversation(
    net: Network, server: RealServer, client: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = write_wav(tmp_path / "microphone.wav", np.concatenate([said("goforward", 6.0)]), HEARING_RATE_HZ)
    async with page_of(server, voice, monkeypatch) as page:
        await page.click("#talk")
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")
        assert await page.inner_text("#carrier") == "over WebRTC"
        await page.locator(".entry.agent .words", has_text="Go forward ten meters").wait_for()
        await page.wait_for_function(f"async () => (await ({SELECTED})())[1] > 0")
        kind, _ = await page.evaluate(SELECTED)
        assert kind == "relay"
        assert await page.locator(".notice").count() == 0
        await page.click("#talk")
