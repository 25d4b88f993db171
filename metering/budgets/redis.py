"""The budget store in Redis: one Lua script for each step, so that a step is done whole or not at all.

For servers that share budgets and want them fast. Leases are timed by Redis' own clock. All keys have one hash tag, so
that a cluster keeps them together. What Redis loses (it may be configured to) is counted anew from the ledger, which
is the authority: marks are lost with the sums. Needs the extra ``redis``; imported by name only.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, cast

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError

from metering.budgets.limits import SHARE
from metering.budgets.store import Balance, BudgetStoreAway, Given, Line, Settlement, Shortage

ASK_LIMIT_S: Final = 2.0
CONNECTIONS: Final = 16
KEPT_S: Final = 70 * 86_400
"""How long sums and entries are kept: two months and a week, as no window is longer than one."""
_PREFIX: Final = "{convergio:budgets}:"

# Numbers go as text: Redis would cut those that Lua returns, and Lua writes large ones in powers of ten.
_COMMON: Final = """
local prefix, holder = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
local function balance(account)
  local used = tonumber(redis.call('HGET', prefix .. 'used', account) or '0')
  local others, mine_until = 0, 0
  local held = redis.call('HGETALL', prefix .. 'holds:' .. account)
  for i = 1, #held, 2 do
    local amount, ends = string.match(held[i + 1], '(%d+) (%d+)')
    if held[i] == holder then mine_until = tonumber(ends)
    elseif tonumber(ends) > now then others = others + tonumber(amount)
    else redis.call('HDEL', prefix .. 'holds:' .. account, held[i]) end
  end
  return used, others, mine_until
end
local function hold(account, amount, ends)
  local key = prefix .. 'holds:' .. account
  if amount > 0 then
    redis.call('HSET', key, holder, text(amount) .. ' ' .. text(ends))
    redis.call('EXPIRE', key, KEPT)
    redis.call('SADD', prefix .. 'held:' .. holder, account)
    redis.call('EXPIRE', prefix .. 'held:' .. holder, KEPT)
  else
    redis.call('HDEL', key, holder)
    redis.call('SREM', prefix .. 'held:' .. holder, account)
  end
end
""".replace("KEPT", str(KEPT_S))

_RESERVE: Final = (
    _COMMON
    + """
local lines, answer, given = cjson.decode(ARGV[2]), {}, {}
for i, line in ipairs(lines) do
  local account, have, amount, most, cap = line[1], line[2], line[3], line[4], line[5]
  local used, others = balance(account)
  local free = cap - used - others - have
  if free < amount then return {'short', account, text(math.max(0, free)), text(used), text(others)} end
  given[i] = math.max(amount, math.min(most, math.floor(free / SHARE)))
  table.insert(answer, text(given[i])); table.insert(answer, text(used)); table.insert(answer, text(others))
end
for i, line in ipairs(lines) do hold(line[1], line[2] + given[i], now + tonumber(ARGV[3])) end
return answer
""".replace("SHARE", str(SHARE))
)

_SETTLE: Final = (
    _COMMON
    + """
local function count(amounts, sign)
  for account, amount in pairs(amounts) do
    local used = tonumber(redis.call('HGET', prefix .. 'used', account) or '0')
    redis.call('HSET', prefix .. 'used', account, text(used + sign * amount))
    redis.call('HSET', prefix .. 'touched', account, text(now))
  end
end
for _, entry in ipairs(cjson.decode(ARGV[2])) do
  local key = prefix .. 'entry:' .. entry.id
  if redis.call('EXISTS', key) == 0 then
    redis.call('SET', key, cjson.encode(entry.amounts), 'EX', KEPT)
    count(entry.amounts, 1)
    if entry.replaces ~= cjson.null then
      local before = prefix .. 'entry:' .. entry.replaces
      count(cjson.decode(redis.call('GET', before) or '{}'), -1)
      redis.call('SET', before, '{}', 'EX', KEPT)
    end
  end
end
local answer = {}
for _, line in ipairs(cjson.decode(ARGV[3])) do
  local account, amount = line[1], line[2]
  local mine = redis.call('HGET', prefix .. 'holds:' .. account, holder)
  if mine then
    local held, ends = string.match(mine, '(%d+) (%d+)')
    hold(account, math.min(tonumber(held), amount), tonumber(ends))
  end
  local used, others = balance(account)
  table.insert(answer, text(used)); table.insert(answer, text(others))
end
return answer
""".replace("KEPT", str(KEPT_S))
)

_RENEW: Final = (
    _COMMON
    + """
local answer, kept = {}, {}
for _, line in ipairs(cjson.decode(ARGV[2])) do
  local account, have, cap = line[1], line[2], line[3]
  local used, others, ends = balance(account)
  local amount = have
  if ends <= now then amount = math.min(have, math.max(0, cap - used - others)) end
  hold(account, amount, now + tonumber(ARGV[3]))
  kept[account] = true
  table.insert(answer, text(amount))
end
for _, account in ipairs(redis.call('SMEMBERS', prefix .. 'held:' .. holder)) do
  if not kept[account] then hold(account, 0, 0) end
end
return answer
"""
)

_BALANCES: Final = (
    _COMMON
    + """
local answer = {}
for _, account in ipairs(cjson.decode(ARGV[2])) do
  local used, others = balance(account)
  table.insert(answer, text(used)); table.insert(answer, text(others))
end
return answer
"""
)

_PRUNE: Final = (
    _COMMON
    + """
local touched = redis.call('HGETALL', prefix .. 'touched')
for i = 1, #touched, 2 do
  if tonumber(touched[i + 1]) < tonumber(ARGV[2]) then
    redis.call('HDEL', prefix .. 'touched', touched[i])
    redis.call('HDEL', prefix .. 'used', touched[i])
  end
end
return 0
"""
)


class RedisBudgets:
    """See the module and the port."""

    def __init__(self, url: str) -> None:
        """``url`` as redis-py has it: ``redis://`` or ``rediss://``. Connects when first asked."""
        self._redis: Redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType] - its keywords are untyped
            url,
            socket_connect_timeout=ASK_LIMIT_S,
            socket_timeout=ASK_LIMIT_S,
            max_connections=CONNECTIONS,
            decode_responses=True,
        )
        # More ask at once than there are connections: they wait for one another, within their limit.
        self._room = anyio.CapacityLimiter(CONNECTIONS)
        self._scripts = {
            name: self._redis.register_script(text)
            for name, text in (
                ("reserve", _RESERVE),
                ("settle", _SETTLE),
                ("renew", _RENEW),
                ("balances", _BALANCES),
                ("prune", _PRUNE),
            )
        }

    async def reserve(self, holder: str, lines: Sequence[Line], lease_ms: int) -> Given | Shortage:
        asked = [[line.account, line.have, line.amount, line.most, line.cap] for line in lines]
        answer = await self._run("reserve", holder, asked, lease_ms)
        if answer and answer[0] == "short":
            return Shortage(answer[1], int(answer[2]), Balance(int(answer[3]), int(answer[4])))
        found = _by(3, answer)
        names = [line.account for line in lines]
        return Given(
            {name: given for name, (given, _, _) in zip(names, found, strict=True)},
            {name: Balance(used, others) for name, (_, used, others) in zip(names, found, strict=True)},
        )

    async def settle(self, holder: str, settlement: Settlement) -> Mapping[str, Balance]:
        entries = [
            {"id": entry.event_id, "amounts": dict(entry.amounts), "replaces": entry.replaces}
            for entry in settlement.entries
        ]
        names = list(settlement.holds)
        answer = await self._run("settle", holder, entries, [[name, settlement.holds[name]] for name in names])
        return {name: Balance(*pair) for name, pair in zip(names, _by(2, answer), strict=True)}

    async def renew(self, holder: str, lines: Sequence[Line], lease_ms: int) -> Mapping[str, int]:
        asked = [[line.account, line.have, line.cap] for line in lines]
        answer = await self._run("renew", holder, asked, lease_ms)
        return {line.account: int(held) for line, held in zip(lines, answer, strict=True)}

    async def balances(self, accounts: Sequence[str]) -> Mapping[str, Balance]:
        answer = await self._run("balances", "", list(accounts))
        return {name: Balance(*pair) for name, pair in zip(accounts, _by(2, answer), strict=True)}

    async def mark(self, name: str) -> int | None:
        value: Any = await self._ask(lambda: cast("Awaitable[Any]", self._redis.get(f"{_PREFIX}mark:{name}")))
        return None if value is None else int(value)

    async def set_mark(self, name: str, value: int) -> None:
        await self._ask(lambda: cast("Awaitable[Any]", self._redis.set(f"{_PREFIX}mark:{name}", value)))

    async def prune(self, before_ms: int) -> None:
        await self._run("prune", "", before_ms)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._redis.aclose()

    async def _run(self, name: str, holder: str, *arguments: object) -> list[str]:
        given = [json.dumps(argument) for argument in arguments]
        script = self._scripts[name]
        answer: Any = await self._ask(lambda: cast("Awaitable[Any]", script(keys=[_PREFIX], args=[holder, *given])))
        return cast("list[str]", answer)

    async def _ask(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        try:
            with anyio.fail_after(ASK_LIMIT_S):
                async with self._room:
                    return await ask()
        except (RedisError, OSError, TimeoutError) as error:
            raise BudgetStoreAway(f"Redis does not answer ({type(error).__name__})") from error


def _by(size: int, answer: Sequence[str]) -> list[tuple[int, ...]]:
    return [tuple(int(part) for part in answer[at : at + size]) for at in range(0, len(answer), size)]
