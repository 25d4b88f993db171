"""SDP of telephones, and what is agreed on: RFC 3264, RFC 4566, RFC 4568."""

from __future__ import annotations

import pytest

from server.wire.sip.errors import NoAgreement, SipSyntaxError
from server.wire.sip.offer_answer import Agreed, MediaTaste, Place, answer_offer, make_offer, read_answer
from server.wire.sip.sdp import AudioSection, Description, Other, Ours, parse_sdp, write_sdp

KEY = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"


def new_key(size: int) -> bytes:
    return bytes(range(size))


PLACE = Place(40_000, 40_001, new_key)
OURS = Ours("198.51.100.7", 1, 1)


def sdp(*media: str, host: str = "192.0.2.3") -> bytes:
    lines = ["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", *media, ""]
    return "\r\n".join(lines).encode()


PHONE = sdp(
    "m=audio 49170 RTP/AVP 96 9 0 8 101 13",
    "a=rtpmap:96 opus/48000/2",
    "a=rtpmap:9 G722/8000",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:101 telephone-event/8000",
    "a=fmtp:101 0-16",
    "a=ptime:30",
    "a=sendrecv",
)
SECURE = sdp(
    "m=audio 49170 RTP/SAVP 0",
    f"a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^20|1:4",
    f"a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31",
    f"a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}",
)


def agree(offer: bytes, taste: MediaTaste | None = None, before: Agreed | None = None) -> tuple[Agreed, Description]:
    agreed, sections = answer_offer(parse_sdp(offer), taste or MediaTaste(), PLACE, before)
    return agreed, parse_sdp(write_sdp(OURS, sections))


def audio_of(description: Description) -> AudioSection:
    (section,) = (one for one in description.sections if isinstance(one, AudioSection))
    return section


def test_their_order_decides_among_the_codecs_we_take() -> None:
    agreed, _ = agree(PHONE)
    assert (agreed.codec, agreed.payload_type, agreed.host, agreed.port) == ("opus", 96, "192.0.2.3", 49_170)
    agreed, answer = agree(PHONE, MediaTaste(("pcma", "g722")))
    assert (agreed.codec, agreed.event_type, agreed.noise_type) == ("g722", 101, None)
    assert [one.number for one in audio_of(answer).formats] == [9, 101]
    agreed, _ = agree(PHONE, MediaTaste(("pcmu",)))
    assert agreed.noise_type == 13


def test_the_answer_says_where_ours_comes_in() -> None:
    _, answer = agree(PHONE)
    section = audio_of(answer)
    assert (section.host, section.port, section.rtcp_port, section.ptime_ms) == ("198.51.100.7", 40_000, 40_001, 20)


def test_payload_types_without_a_map_are_known_by_number() -> None:
    agreed, _ = agree(sdp("m=audio 4000 RTP/AVP 8"))
    assert (agreed.codec, agreed.rtcp_port) == ("pcma", 4_001)


@pytest.mark.parametrize(
    ("attribute", "direction", "held"),
    [("a=sendonly", "recvonly", True), ("a=inactive", "inactive", True), ("a=recvonly", "sendonly", False)],
)
def test_directions_are_mirrored_and_hold_is_known(attribute: str, direction: str, held: bool) -> None:
    agreed, answer = agree(sdp("m=audio 4000 RTP/AVP 0", attribute))
    assert (agreed.direction, agreed.held, audio_of(answer).direction) == (direction, held, direction)
    assert agreed.speaks is (not held)


def test_hold_is_known_in_its_old_form_and_for_the_whole_session() -> None:
    assert agree(sdp("m=audio 4000 RTP/AVP 0", host="0.0.0.0"))[0].held
    whole = sdp("m=audio 4000 RTP/AVP 0").replace(b"t=0 0\r\n", b"t=0 0\r\na=sendonly\r\n")
    assert agree(whole)[0].held


def test_the_best_key_is_taken_and_answered_under_its_number() -> None:
    agreed, answer = agree(SECURE)
    assert (agreed.suite, len(agreed.their_key), agreed.our_key) == ("AES_CM_128_HMAC_SHA1_80", 30, new_key(30))
    (crypto,) = audio_of(answer).crypto
    assert (crypto.tag, crypto.suite, crypto.key) == (2, "AES_CM_128_HMAC_SHA1_80", new_key(30))
    assert audio_of(answer).protocol == "RTP/SAVP"
    assert KEY not in repr(agreed)


def test_our_key_stays_through_a_later_round() -> None:
    agreed, _ = agree(SECURE)
    place = Place(40_000, 40_001, lambda size: b"x" * size)
    later, _ = answer_offer(parse_sdp(SECURE), MediaTaste(), place, agreed)
    assert later.our_key == agreed.our_key


@pytest.mark.parametrize(
    ("offer", "taste"),
    [
        (PHONE, MediaTaste(srtp="required")),
        (SECURE, MediaTaste(srtp="off")),
        (sdp("m=audio 4000 RTP/SAVP 0"), MediaTaste()),
        (sdp("m=audio 4000 RTP/SAVP 0", f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4"), MediaTaste()),
        (sdp("m=audio 4000 RTP/SAVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA"), MediaTaste()),
        (sdp("m=audio 4000 RTP/AVP 3 18"), MediaTaste()),
        (sdp("m=audio 0 RTP/AVP 0"), MediaTaste()),
        (sdp("m=video 4000 RTP/AVP 31"), MediaTaste()),
        (sdp("m=audio 4000 UDP/TLS/RTP/SAVPF 0"), MediaTaste()),
        (sdp(), MediaTaste()),
    ],
)
def test_what_cannot_be_taken_is_refused(offer: bytes, taste: MediaTaste) -> None:
    with pytest.raises(NoAgreement):
        agree(offer, taste)


def test_other_sections_are_refused_in_their_place() -> None:
    offer = sdp("m=video 3227 RTP/AVP 31", "m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/AVP 8")
    _, sections = answer_offer(parse_sdp(offer), MediaTaste(), PLACE)
    text = write_sdp(OURS, sections).decode()
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("m=")] == [
        ["m=video", "0"], ["m=audio", "40000"], ["m=audio", "0"],
    ]  # fmt: skip


def test_two_of_us_agree() -> None:
    for secure in (False, True):
        offered = make_offer(MediaTaste(), PLACE, secure=secure)
        there = Place(50_000, 50_001, lambda size: b"t" * size)
        theirs, sections = answer_offer(parse_sdp(write_sdp(OURS, (offered,))), MediaTaste(), there)
        ours = read_answer(offered, parse_sdp(write_sdp(Ours("203.0.113.9", 2, 1), sections)), MediaTaste())
        assert (ours.codec, ours.port, ours.host) == ("opus", 50_000, "203.0.113.9")
        assert (ours.our_key, ours.their_key) == (theirs.their_key, theirs.our_key)
        assert (ours.suite is not None) is secure
        assert ours.event_clock_hz == theirs.event_clock_hz == 48_000


def test_an_answer_that_takes_nothing_is_no_agreement() -> None:
    offered = make_offer(MediaTaste(("pcmu",)), PLACE, secure=False)
    for body in (sdp("m=audio 0 RTP/AVP 0"), sdp("m=audio 4000 RTP/AVP 8"), sdp("m=audio 4000 RTP/SAVP 0"), sdp()):
        with pytest.raises(NoAgreement):
            read_answer(offered, parse_sdp(body), MediaTaste(("pcmu",)))
    keyed = make_offer(MediaTaste(("pcmu",)), PLACE, secure=True)
    with pytest.raises(NoAgreement):
        read_answer(keyed, parse_sdp(sdp("m=audio 4000 RTP/SAVP 0")), MediaTaste(("pcmu",)))


@pytest.mark.parametrize(
    "body", [b"", b"x", b"v=0\r\nm=audio", b"v=0\r\nm=audio 99999 RTP/AVP 0", b"v=0\n" + b"m=a 1 x\n" * 20]
)
def test_what_is_no_description_is_none(body: bytes) -> None:
    with pytest.raises(SipSyntaxError):
        parse_sdp(body)


def test_an_unknown_section_is_kept_as_it_is() -> None:
    (section,) = parse_sdp(b"v=0\nm=image 6000 udptl t38\na=x\n").sections
    assert section == Other("image", "udptl", "t38")
