"""Who may ask anything of the SIP endpoint: known networks, then users with passwords; everybody else is turned away.

Turning away costs next to nothing and is remembered only as a count: no transaction, no call, one line in the log per
source and second at most (message ``sip request refused``, fields ``source``, ``method``, ``reason``: what fail2ban
matches on). Time is passed in. Driven by the endpoint.
"""

from __future__ import annotations

import ipaddress
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from server.sip_settings import SipSettings, SipTrunk
from server.wire.sip.digest import DigestGuard, Signed
from server.wire.sip.message import Pair, Request

logger = logging.getLogger(__name__)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Reason = Literal["not-allowed", "no-password", "wrong-password", "too-many"]

_SOURCES: Final = 4_096
_ANSWERS_PER_S: Final = 20.0
_LOGGED_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request may be carried out: who asks, and for whom."""

    name: str
    tenant: str | None
    trunk: SipTrunk | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answer this and forget it; with ``status`` 0 do not even answer."""

    status: int
    reason: str
    headers: tuple[Pair, ...] = ()


class _Bucket:
    """So many a second, and a few seconds' worth at once."""

    def __init__(self, per_s: float, now_s: float) -> None:
        self._per_s = per_s
        self._most = 2 * per_s
        self._left = self._most
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        self._left = min(self._most, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(slots=True)
class _Source:
    answers: _Bucket
    logged_s: float = float("-inf")


class Doorman:
    """The rule of one endpoint. ``secret`` seals its challenges."""

    def __init__(self, settings: SipSettings, secret: bytes, addresses: Mapping[str, Sequence[str]]) -> None:
        """``addresses`` are those of hosts we register with, by trunk."""
        self._settings = settings
        self._trunks: list[tuple[SipTrunk, list[Network]]] = []
        self.know(addresses)
        self._passwords = {user.name: user.password.get_secret_value() for user in settings.users}
        self._users = {user.name: user for user in settings.users}
        self._guard = DigestGuard(settings.realm, secret, settings.digest)
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._invites: dict[str, _Bucket] = {}
        self.refused = 0

    def know(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Where the hosts we register with are now, by trunk."""
        self._trunks = [(trunk, _networks(trunk, addresses.get(trunk.name, ()))) for trunk in self._settings.trunks]

    def judge(self, request: Request, source: str, now_s: float) -> Admitted | Refusal:
        """Whether a request that opens something may."""
        trunk = self._trunk_at(source)
        if trunk is not None:
            return self._paced(Admitted(trunk.name, trunk.tenant, trunk), trunk.invites_per_s, request, now_s)
        if not self._users:
            return self._refuse(request, source, "not-allowed", now_s)
        signed = Signed(request.method, request.uri)
        headers = [value for name, value in request.headers.pairs if name == "authorization"]
        verdict, name = self._guard.check(headers, signed, self._passwords, now_s)
        if verdict == "good":
            return self._paced(Admitted(name, self._users[name].tenant), 10, request, now_s)
        if verdict == "bad":
            return self._refuse(request, source, "wrong-password", now_s)
        return self._challenge(request, source, now_s, stale=verdict == "stale")

    def whose(self, request: Request, source: str) -> Admitted:
        """Who a request is from that ``judge`` admitted."""
        trunk = self._trunk_at(source)
        if trunk is not None:
            return Admitted(trunk.name, trunk.tenant, trunk)
        headers = [value for name, value in request.headers.pairs if name == "authorization"]
        name = self._guard.user_of(headers)
        return Admitted(name, self._users[name].tenant if name in self._users else None)

    def _paced(self, admitted: Admitted, per_s: float, request: Request, now_s: float) -> Admitted | Refusal:
        if request.method != "INVITE":
            return admitted
        bucket = self._invites.setdefault(admitted.name, _Bucket(per_s, now_s))
        if bucket.take(now_s):
            return admitted
        self.refused += 1
        return Refusal(503, "Too Many Calls at Once", (("retry-after", "2"),))

    def _trunk_at(self, source: str) -> SipTrunk | None:
        try:
            address = ipaddress.ip_address(source.partition("%")[0])
        except ValueError:
            return None
        mapped = getattr(address, "ipv4_mapped", None)
        address = address if mapped is None else mapped
        for trunk, networks in self._trunks:
            if any(address in network for network in networks):
                return trunk
        return None

    def _challenge(self, request: Request, source: str, now_s: float, *, stale: bool) -> Refusal:
        if not self._may_answer(source, now_s):
            return Refusal(0, "")
        challenges = self._guard.challenges(now_s, stale=stale)
        return Refusal(401, "Unauthorized", tuple(("www-authenticate", value) for value in challenges))

    def _refuse(self, request: Request, source: str, reason: Reason, now_s: float) -> Refusal:
        self.refused += 1
        answer = self._may_answer(source, now_s)
        known = self._sources[source]
        if now_s - known.logged_s >= _LOGGED_EVERY_S:
            known.logged_s = now_s
            logger.warning(
                "sip request refused", extra={"source": source, "method": request.method[:20], "reason": reason}
            )
        return Refusal(403, "Forbidden") if answer else Refusal(0, "")

    def _may_answer(self, source: str, now_s: float) -> bool:
        """Whoever asks too often is not answered: neither guessing nor reflecting pays."""
        known = self._sources.get(source)
        if known is None:
            known = self._sources[source] = _Source(_Bucket(_ANSWERS_PER_S, now_s))
        self._sources.move_to_end(source)
        while len(self._sources) > _SOURCES:
            self._sources.popitem(last=False)
        return known.answers.take(now_s)


def _networks(trunk: SipTrunk, addresses: Sequence[str]) -> list[Network]:
    return [ipaddress.ip_network(one) for one in (*trunk.networks, *addresses)]
