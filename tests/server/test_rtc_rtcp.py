"""Reports between the two sides (RFC 3550 section 6.4), as one desk writes and another reads them."""

from __future__ import annotations

import struct

import pytest
from aiortc.rtp import RtcpPacket, RtcpPsfbPacket, RtcpRrPacket, RtcpRtpfbPacket, RtcpSdesPacket, RtcpSrPacket
from hypothesis import given
from hypothesis import strategies as st

from audio.rtp.reception import ReceptionReport
from server.transports.rtc.outbound import SentCounts
from server.transports.rtc.rtcp import RtcpDesk


def test_one_who_sends_reports_what_it_sent_and_who_it_is():
    data = RtcpDesk(7, "voice").compound(1_000, SentCounts(50, 3_000, 48_000), None, None)
    report, source = RtcpPacket.parse(data)
    assert isinstance(report, RtcpSrPacket)
    assert (report.ssrc, report.sender_info.packet_count, report.sender_info.octet_count) == (7, 50, 3_000)
    assert report.sender_info.rtp_timestamp == 48_000
    assert isinstance(source, RtcpSdesPacket)
    assert source.chunks[0].items == [(1, b"voice")]


def test_one_who_only_listens_reports_what_it_heard():
    heard = ReceptionReport(highest_sequence=70_000, packets_lost=3, fraction_lost=25, jitter=96)
    report, _ = RtcpPacket.parse(RtcpDesk(7, "voice").compound(1_000, None, 9, heard))
    assert isinstance(report, RtcpRrPacket)
    (block,) = report.reports
    assert (block.ssrc, block.packets_lost, block.fraction_lost, block.jitter) == (9, 3, 25, 96)
    assert (block.highest_sequence, block.lsr, block.dlsr) == (70_000, 0, 0)


def test_the_round_trip_is_the_time_there_and_back_without_the_wait_between():
    ours, theirs = RtcpDesk(7, "us"), RtcpDesk(9, "them")
    heard = ReceptionReport(100, 0, 64, 480)
    there_ms = 5_000_000.0  # the other side's clock is another one
    theirs.receive(ours.compound(1_000, SentCounts(5, 5, 5), None, None), there_ms)
    ours.receive(theirs.compound(there_ms + 2_000, None, 7, heard), 1_000 + 2_000 + 80)
    assert ours.round_trip_ms == pytest.approx(80, abs=0.1)
    assert ours.outbound_loss == pytest.approx(0.25)
    assert ours.outbound_jitter_ms == pytest.approx(10)
    assert theirs.round_trip_ms is None


def test_reports_about_others_teach_nothing():
    ours = RtcpDesk(7, "us")
    ours.receive(RtcpDesk(9, "x").compound(0, None, 8, ReceptionReport(1, 0, 255, 1)), 10)
    assert ours.outbound_loss is None


def test_requests_for_pictures_and_retransmission_are_passed_over():
    ours = RtcpDesk(7, "us")
    ours.receive(bytes(RtcpPsfbPacket(1, 9, 7)) + bytes(RtcpRtpfbPacket(1, 9, 7, [1, 2])), 0)
    assert ours.round_trip_ms is None


@given(data=st.binary(max_size=120))
def test_no_bytes_do_harm(data):
    desk = RtcpDesk(7, "us")
    desk.receive(data, 0)
    desk.receive(struct.pack("!BBH", 0x81, 201, len(data) // 4) + data, 0)
