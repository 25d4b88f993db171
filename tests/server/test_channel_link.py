"""A data channel as a conversation's connection."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from agents.events import AudioOutEnded
from server.transports.channel_link import MAX_WAITING, TOO_FAST, ChannelLink, NoChannel
from server.transports.connection import Disconnected
from server.transports.rtc.port import ChannelClosed
from server.wire.values import EncodedAudio
from server.wire.voice_json import VoiceCodec


class StandInChannel:
    """What a peer gives, without a network."""

    label = "convergio.v1"
    protocol = ""
    open = True

    def __init__(self) -> None:
        self.on_message: Callable[[str | bytes], None] | None = None
        self.on_close: Callable[[], None] | None = None
        self.sent: list[str | bytes] = []
        self.broken = False

    def hear(self, message: str) -> None:
        assert self.on_message is not None
        self.on_message(message)

    async def send(self, message: str | bytes) -> None:
        if self.broken:
            raise ChannelClosed("gone")
        self.sent.append(message)

    def close(self) -> None:
        self.open = False


async def test_messages_come_in_order_and_the_end_after_the_last() -> None:
    channel = StandInChannel()
    link = ChannelLink(channel)
    channel.hear("one")
    channel.hear("two")
    link.cut(1000)
    assert [await link.receive(), await link.receive()] == ["one", "two"]
    with pytest.raises(Disconnected) as gone:
        await link.receive()
    assert gone.value.code == 1000


async def test_whoever_waits_for_a_message_gets_it() -> None:
    channel = StandInChannel()
    link = ChannelLink(channel)
    got: list[str | bytes] = []

    async def read() -> None:
        got.append(await link.receive())

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.lowlevel.checkpoint()
            channel.hear("hello")
    assert got == ["hello"]


async def test_a_flood_ends_reading_and_leaves_room_for_a_word_about_it() -> None:
    channel = StandInChannel()
    link = ChannelLink(channel)
    for number in range(MAX_WAITING + 2):
        channel.hear(str(number))
    with pytest.raises(Disconnected) as gone:
        await link.receive()
    assert gone.value.code == TOO_FAST
    await link.send("too fast")
    assert channel.sent == ["too fast"]


async def test_a_channel_that_is_gone_is_a_lost_connection() -> None:
    channel = StandInChannel()
    link = ChannelLink(channel)
    channel.broken = True
    with pytest.raises(Disconnected):
        await link.send("anybody?")
    assert not link.open
    with pytest.raises(Disconnected):
        await link.receive()


async def test_audio_of_a_session_that_was_held_over_a_socket_is_not_sent() -> None:
    channel = StandInChannel()
    link = ChannelLink(channel)
    await link.send(b"audio")
    codec = VoiceCodec("req_1")
    codec.feed('{"type":"voice.start"}')
    for frame in codec.encode_audio(EncodedAudio("turn_1", b"\0\0", 0, 1), 1, 1):
        await link.send(frame)
    assert channel.sent == []
    await link.send(codec.encode(AudioOutEnded("turn_1", 1), 2, 1))
    assert len(channel.sent) == 1


async def test_a_connection_without_messages_ends_when_it_is_cut() -> None:
    link = NoChannel()
    await link.send("nobody hears this")
    await link.close(1000)
    with pytest.raises(Disconnected) as gone:
        await link.receive()
    assert gone.value.code == 1000
