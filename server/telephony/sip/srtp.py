"""Media in the clear or encrypted with keys the call agreed on (RFC 3711, RFC 4568): plain calls around libsrtp."""

from __future__ import annotations

from typing import Any, Final

import pylibsrtp
from pylibsrtp import Policy, Session

from server.wire.sip.offer_answer import Agreed
from server.wire.sip.sdp import Suite

_POLICY: Final[Any] = Policy  # its constants carry no types
_PROFILES: Final[dict[Suite, int]] = {
    "AES_CM_128_HMAC_SHA1_80": _POLICY.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": _POLICY.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": _POLICY.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": _POLICY.SRTP_PROFILE_AEAD_AES_256_GCM,
}


class MediaKeys:
    """Both directions of one call's media; without a suite everything passes as it is."""

    def __init__(self, agreed: Agreed) -> None:
        self.name = (agreed.suite, agreed.our_key, agreed.their_key)
        self._inbound = self._outbound = None
        if agreed.suite is not None:
            profile = _PROFILES[agreed.suite]
            self._inbound = _session(agreed.their_key, _POLICY.SSRC_ANY_INBOUND, profile)
            self._outbound = _session(agreed.our_key, _POLICY.SSRC_ANY_OUTBOUND, profile)

    def open_rtp(self, data: bytes) -> bytes | None:
        """A packet's plain bytes; None for one that is forged or repeated."""
        try:
            return data if self._inbound is None else self._inbound.unprotect(data)
        except (pylibsrtp.Error, TypeError):
            return None

    def open_rtcp(self, data: bytes) -> bytes | None:
        """The same for RTCP."""
        try:
            return data if self._inbound is None else self._inbound.unprotect_rtcp(data)
        except (pylibsrtp.Error, TypeError):
            return None

    def seal_rtp(self, packet: bytes) -> bytes | None:
        """A packet as it travels; None where it cannot be encrypted."""
        try:
            return packet if self._outbound is None else self._outbound.protect(packet)
        except (pylibsrtp.Error, TypeError):
            return None

    def seal_rtcp(self, packet: bytes) -> bytes | None:
        """The same for RTCP."""
        try:
            return packet if self._outbound is None else self._outbound.protect_rtcp(packet)
        except (pylibsrtp.Error, TypeError):
            return None


def _session(key: bytes, kind: int, profile: int) -> Session:
    return Session(Policy(key=key, ssrc_type=kind, srtp_profile=profile))
