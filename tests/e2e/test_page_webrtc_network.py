"""The page and the real server, and a network between them that fails: the session goes on by whatever way is left.

All datagrams pass through a relay of the test's. Nothing tells the page that they are dropped; it must notice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from browser import chromium, needs_chromium, open_page
from page_witness import Witness, preferring
from real_server import RealServer, scripted_server
from udp_relay import Network

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.browser, needs_chromium]

LONG = "Tell me about the sea and the moon, and about everybody who ever sailed the one by the light of the other."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A server whose agent says what it was told."""
    with scripted_server(tmp_path_factory.mktemp("network")) as running:
        yield running


@asynccontextmanager
async def talking(server: RealServer) -> AsyncGenerator[tuple[Page, Witness, Network]]:
    """The page in a conversation over WebRTC, through a network that can be cut."""
    async with (
        Network() as network,
        chromium() as browser,
        open_page(browser, server.url, storage_state=preferring(server.url, "auto")) as page,
    ):
        await network.lead(page)
        witness = Witness(page)
        await witness.begin()
        yield page, witness, network
        assert await witness.events("error") == await witness.events("degraded") == []
        assert len(await witness.events("session.started")) == 1, "it is still the same session"


async def answered(page: Page, witness: Witness, question: str, nth: int) -> None:
    """Asks in writing, and waits until the answer was heard to its end."""
    await page.fill("#prompt", question)
    await page.press("#prompt", "Enter")
    turn = await witness.until("turn.started", nth=nth)
    assert turn["text"] == question
    await witness.until("playback", requestId=turn["request_id"], state="drained")


async def test_a_path_that_dies_is_replaced_without_a_new_peer(server: RealServer) -> None:
    async with talking(server) as (page, witness, network):
        await answered(page, witness, "Are you there?", 1)
        network.cut(for_good=False)
        await witness.until("link", state="reconnecting")
        await witness.until("link", nth=2, state="open")
        assert len(network.relays) == 2
        await answered(page, witness, "And now?", 2)
        assert await witness.events("session.resumed") == []
        assert await page.inner_text("#carrier") == "over WebRTC"


async def test_a_network_that_takes_no_more_webrtc_leaves_the_session_to_the_socket(server: RealServer) -> None:
    async with talking(server) as (page, witness, network):
        await page.fill("#prompt", LONG)
        await page.press("#prompt", "Enter")
        turn = await witness.until("turn.started")
        await page.wait_for_function("() => client.outputLevel > 0.3")
        network.cut(for_good=True)
        resumed = await witness.until("session.resumed", within_s=30)
        assert resumed["session_id"] == (await witness.until("session.started"))["session_id"]
        assert await page.inner_text("#carrier") == "over WebSocket"
        assert await page.locator(".notice").count() == 0
        # The voice was lost on the way, the words were not.
        await page.locator(".entry.agent", has_text=LONG).wait_for()
        await page.wait_for_selector("#state[data-activity=ready]", state="attached")
        done = await witness.until("chat.complete", request_id=turn["request_id"])
        assert not done["interrupted"]
        await answered(page, witness, "Are you there?", 2)
