"""Offers read and answered: every client's own way of writing them, and what cannot be answered said in a sentence."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtc_offers import CHROME, FIREFOX, PION, SAFARI, SHA256

from server.transports.rtc.description import LocalSide, answered_setup, write_answer
from server.transports.rtc.offer import Offer, parse_fragment, parse_offer
from server.transports.rtc.port import BadOffer

ALL = {"chrome": CHROME, "firefox": FIREFOX, "safari": SAFARI, "pion": PION}
EACH = pytest.mark.parametrize("text", list(ALL.values()), ids=list(ALL))


def answer(offer: Offer, **changed) -> list[str]:
    values = {
        "session_id": 5,
        "version": 1,
        "ufrag": "ours",
        "password": "p" * 22,
        "candidates": ("1 1 udp 1 192.0.2.1 5000 typ host",),
        "fingerprints": (("sha-256", SHA256),),
        "setup": answered_setup(offer.transport.setup),
        "ssrc": 77,
        "cname": "voice",
        "ask_for_dtx": False,
        "max_message_bytes": 65_536,
    }
    text = write_answer(offer, LocalSide(**(values | changed)))
    assert text.endswith("\r\n")
    return text.split("\r\n")[:-1]


def section(lines: list[str], kind: str) -> list[str]:
    """The lines of the first section of a kind."""
    start = next(at for at, line in enumerate(lines) if line.startswith(f"m={kind} "))
    end = next((at for at in range(start + 1, len(lines)) if lines[at].startswith("m=")), len(lines))
    return lines[start:end]


@EACH
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_offer_of_every_client_is_read_and_answered(text, ending):
    offer = parse_offer(text.replace("\n", ending))
    assert offer.audio is not None
    lines = answer(offer)
    offered = [line for line in text.splitlines() if line.startswith("m=")]
    assert [line.split()[0] for line in lines if line.startswith("m=")] == [line.split()[0] for line in offered]
    audio = section(lines, "audio")
    number = offer.audio.payload_type
    assert audio[0] == f"m=audio 9 UDP/TLS/RTP/SAVPF {number}"
    assert {"a=rtcp-mux", "a=setup:active", f"a=rtpmap:{number} opus/48000/2", "a=ice-ufrag:ours"} <= set(audio)
    assert any(re.fullmatch(rf"a=fmtp:{number} .*useinbandfec=1.*", line) for line in audio)
    assert sum(line.startswith("a=candidate") for line in lines) == 1


def test_chromes_offer_is_read_to_the_letter():
    offer = parse_offer(CHROME)
    assert offer.audio is not None
    assert offer.data is not None
    assert (offer.audio.payload_type, offer.audio.direction, offer.audio.fec) == (111, "sendrecv", True)
    assert (offer.audio.mid_extension, offer.audio.max_bitrate_bps) == (4, None)
    assert (offer.data.sctp_port, offer.data.max_message_bytes) == (5_000, 262_144)
    assert (offer.transport.ufrag, offer.transport.setup) == ("tRFa", "actpass")
    assert offer.transport.fingerprints == (("sha-256", SHA256),)
    assert len(offer.transport.candidates) == 3
    lines = answer(offer)
    assert "a=group:BUNDLE 0 1" in lines
    assert "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid" in lines
    assert section(lines, "application")[0] == "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
    assert {"a=sctp-port:5000", "a=max-message-size:65536", "a=mid:1"} <= set(section(lines, "application"))


def test_firefoxes_fingerprint_stands_for_the_whole_session():
    offer = parse_offer(FIREFOX)
    assert offer.transport.fingerprints == (("sha-256", SHA256),)
    assert offer.audio is not None
    assert (offer.audio.payload_type, offer.audio.mid_extension) == (109, 3)


def test_safari_may_only_listen_and_ask_for_little():
    offer = parse_offer(SAFARI)
    assert offer.audio is not None
    assert (offer.audio.direction, offer.audio.max_bitrate_bps) == ("recvonly", 16_000)
    assert offer.data is None
    lines = answer(offer)
    assert "a=sendonly" in lines
    assert "a=ssrc:77 cname:voice" in lines


def test_pions_first_section_of_the_bundle_is_the_one_whose_transport_is_used():
    offer = parse_offer(PION)
    assert offer.data is not None
    assert offer.data.section == 0
    assert offer.audio is not None
    assert (offer.audio.section, offer.audio.direction, offer.audio.fec) == (1, "sendonly", False)
    lines = answer(offer)
    assert "a=recvonly" in lines
    assert any(line.startswith("a=candidate") for line in section(lines, "application"))


def test_a_sender_that_may_save_silence_is_told_so():
    assert not any("usedtx" in line for line in answer(parse_offer(CHROME)))
    assert any("usedtx=1" in line for line in answer(parse_offer(CHROME), ask_for_dtx=True))


@pytest.mark.parametrize(("offered", "ours"), [("actpass", "active"), ("active", "passive"), ("passive", "active")])
def test_the_dtls_role_fits_the_one_offered(offered, ours):
    offer = parse_offer(CHROME.replace("a=setup:actpass", f"a=setup:{offered}"))
    assert f"a=setup:{ours}" in answer(offer)


@pytest.mark.parametrize("hash_name", ["sha-256", "SHA-384", "sha-512"])
def test_fingerprints_of_three_hashes_are_known_and_others_passed_over(hash_name):
    length = {"256": 32, "384": 48, "512": 64}[hash_name[-3:]]
    digest = ":".join(["0f"] * length)
    lines = f"a=fingerprint:sha-1 {':'.join(['00'] * 20)}\na=fingerprint:{hash_name} {digest}"
    offer = parse_offer(CHROME.replace(f"a=fingerprint:sha-256 {SHA256}", lines))
    assert offer.transport.fingerprints == ((hash_name.lower(), digest.upper()),)


def test_sections_we_do_not_take_are_refused_in_their_place():
    video = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\nc=IN IP4 0.0.0.0\na=mid:v\na=sendrecv\na=rtpmap:96 VP8/90000\n"
    second = "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:a2\na=rtcp-mux\na=rtpmap:111 opus/48000/2\n"
    text = CHROME.replace("BUNDLE 0 1", "BUNDLE v 0 a2 1").replace("m=audio", video + "m=audio", 1)
    text = text.replace("m=application", second + "m=application")
    lines = answer(parse_offer(text))
    assert [" ".join(line.split()[:2]) for line in lines if line.startswith("m=")] == [
        "m=video 0",
        "m=audio 9",
        "m=audio 0",
        "m=application 9",
    ]
    assert "m=video 0 UDP/TLS/RTP/SAVPF 96 97" in lines
    assert "a=group:BUNDLE 0 1" in lines
    assert "a=mid:v" in lines


def test_a_section_with_port_zero_was_taken_back_unless_it_is_only_bundled():
    text = CHROME.replace("m=audio 34837", "m=audio 0")
    assert parse_offer(text).audio is None
    assert parse_offer(text.replace("a=mid:0", "a=mid:0\na=bundle-only")).audio is not None


def test_older_browsers_data_channels_are_understood():
    text = CHROME.replace("m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "m=application 9 DTLS/SCTP 5001")
    text = text.replace("a=sctp-port:5000", "a=sctpmap:5001 webrtc-datachannel 1024")
    offer = parse_offer(text)
    assert offer.data is not None
    assert (offer.data.sctp_port, offer.data.legacy) == (5_001, True)
    assert "a=sctpmap:5000 webrtc-datachannel 65535" in answer(offer)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not an SDP offer"),
        ("{}", "not an SDP offer"),
        ("v=0\n", "neither audio nor a data channel"),
        (CHROME + "a=x:" + "y" * 70_000, "longer than 65536 bytes"),
        (CHROME + "é" * 33_000, "longer than 65536 bytes"),
        (re.sub("a=ice-ufrag.*\n", "", CHROME), "no ICE credentials"),
        (re.sub("a=ice-pwd.*\n", "", CHROME), "no ICE credentials"),
        (re.sub("a=fingerprint.*\n", "", CHROME), "no certificate fingerprint"),
        (CHROME.replace("sha-256", "md5"), "no certificate fingerprint"),
        (CHROME.replace(SHA256, "xyz"), "no certificate fingerprint"),
        (CHROME.replace("opus", "speex"), "no Opus"),
        (CHROME.replace("a=rtcp-mux\n", ""), "rtcp-mux"),
        (CHROME.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "encrypted"),
        (CHROME.replace("a=group:BUNDLE 0 1\n", ""), "BUNDLE"),
        (CHROME.replace("a=setup:actpass", "a=setup:holdconn"), "DTLS role"),
        (CHROME.replace("m=audio 34837", "m=audio many"), "cannot be read"),
        (CHROME.replace("m=audio 34837", "m=audio \u0663"), "cannot be read"),
        (CHROME + "m=video 9 UDP/TLS/RTP/SAVPF 96\n" * 70, "more than 64"),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_sentence(text, why):
    with pytest.raises(BadOffer, match=why) as caught:
        parse_offer(text)
    assert str(caught.value).endswith(".")


lines_of_offers = st.sampled_from(sorted({line for text in ALL.values() for line in text.splitlines()}))
mangled = st.one_of(
    st.lists(st.one_of(lines_of_offers, st.text(max_size=40)), max_size=60).map(
        lambda lines: "v=0\n" + "\n".join(lines)
    ),
    st.builds(
        lambda text, at, cut, junk: text[: at % len(text)] + junk + text[(at + cut) % len(text) :],
        st.sampled_from(list(ALL.values())),
        st.integers(0, 10_000),
        st.integers(0, 200),
        st.text(max_size=20),
    ),
)


@given(text=mangled)
def test_no_text_does_more_than_raise_bad_offer(text):
    try:
        offer = parse_offer(text)
    except BadOffer:
        return
    lines = answer(offer)
    assert sum(line.startswith("m=") for line in lines) == len(offer.sections)
    assert all("\n" not in line for line in lines)


def test_candidates_that_trickle_are_read_with_their_generation():
    fragment = parse_fragment(
        "a=ice-ufrag:tRFa\r\na=ice-pwd:x\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
        "a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\na=end-of-candidates\r\n"
    )
    assert (fragment.ufrag, fragment.candidates) == ("tRFa", ("1 1 udp 1 192.0.2.1 5 typ host",))
    bare = parse_fragment("candidate:1 1 udp 1 192.0.2.1 5 typ host ufrag tRFa")
    assert (bare.ufrag, len(bare.candidates)) == (None, 1)
    assert parse_fragment("") == parse_fragment("a=end-of-candidates\n")
    with pytest.raises(BadOffer, match="longer"):
        parse_fragment("x" * 70_000)
