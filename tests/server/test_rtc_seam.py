"""What we use of aiortc and aioice beyond their promises is still there, and still does what we use it for."""

from __future__ import annotations

import inspect

import aioice
import aioice.ice
import pytest
from aiortc import RTCCertificate, RTCDtlsTransport, RTCSctpTransport

from server.transports.rtc.aiortc_seam import Association, Resending, add_protocol, dtls_over, srtp_sessions


class Path:
    role = "controlled"

    async def _recv(self) -> bytes:
        raise ConnectionError

    async def _send(self, data: bytes) -> None:
        pass


def test_a_connection_sends_through_the_sockets_it_is_given():
    connection = aioice.Connection(ice_controlling=False)
    assert connection._protocols == []
    protocol = object()
    add_protocol(connection, protocol)
    assert connection._protocols == [protocol]
    assert "self._protocols" in inspect.getsource(aioice.Connection._pair_remote_candidate)


@pytest.mark.parametrize(
    "name",
    ["get_component_candidates", "data_received", "request_received", "close", "gather_candidates", "query_consent"],
)
def test_what_we_replace_in_a_connection_is_called_by_it(name):
    assert callable(getattr(aioice.Connection, name))
    called = inspect.getsource(aioice.ice)
    assert f"self.{name}(" in called or f"receiver.{name}(" in called or name == "gather_candidates"


def test_consent_that_has_expired_closes_the_connection():
    assert "self.close()" in inspect.getsource(aioice.Connection.query_consent)


@pytest.mark.parametrize("role", ["client", "server"])
async def test_dtls_takes_any_path_and_the_role_it_is_given(role):
    transport = dtls_over(Path(), RTCCertificate.generateCertificate(), role)
    assert transport._role == role
    assert transport.state == "new"


async def test_media_keys_come_with_the_handshake():
    transport = dtls_over(Path(), RTCCertificate.generateCertificate(), "client")
    with pytest.raises(AssertionError):
        srtp_sessions(transport)
    transport._rx_srtp, transport._tx_srtp = "in", "out"
    assert srtp_sessions(transport) == ("in", "out")
    assert "self._rx_srtp = Session" in inspect.getsource(RTCDtlsTransport._setup_srtp)
    assert "self._tx_srtp = Session" in inspect.getsource(RTCDtlsTransport._setup_srtp)


def test_dtls_reads_and_writes_its_path_by_the_names_we_give_it():
    source = inspect.getsource(RTCDtlsTransport)
    assert "self.transport._recv()" in source
    assert "self.transport._send(" in source


async def test_an_association_registers_before_it_first_waits():
    """Or what the other side sends first would be lost, and sent again only after seconds."""
    source = inspect.getsource(RTCSctpTransport.start)
    assert source.index("_register_data_receiver(self)") < source.index("await ")


async def test_a_message_is_sent_again_by_the_round_trip_within_our_limits():
    dtls = dtls_over(Path(), RTCCertificate.generateCertificate(), "client")
    association = Association(dtls, 5_000, Resending(initial_s=0.5, min_s=0.4, max_s=2.0))
    assert association._rto == 0.5
    association._update_rto(0.01)
    assert association._rto == 0.4
    association._update_rto(0.9)
    assert association._rto == pytest.approx(1.03, abs=0.01)
    for seconds in (2.0, 2.0):
        association._t3_expired()
        assert association._rto == seconds
    for name in ("_update_rto(", "_t3_expired)", "_rto,"):
        assert f"self.{name}" in inspect.getsource(RTCSctpTransport)
