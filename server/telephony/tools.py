"""What an agent can do to the telephone call it is in: end it, transfer it, have digits entered, press keys.

Only sessions over a telephone have these tools. What may be done is the operator's choice: without targets nobody is
transferred. Knows no carrier; ``CallControls`` carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Protocol

from pydantic import Field

from agents.errors import ToolError
from agents.tools.tool import Tool, tool
from server.telephony.keypad import MAX_DIGITS, Expected
from server.telephony.port import CallControlError
from server.telephony.pressing import KEYS_PATTERN

END_CALL: Final = "end_call"
TRANSFER_CALL: Final = "transfer_call"
SEND_DIGITS: Final = "send_digits"


class CallControls(Protocol):
    """What the tools act on; all of it happens when the turn that asked for it has been heard."""

    def end_after_turn(self) -> None: ...

    def transfer_after_turn(self, target: str, summary: str | None) -> None: ...

    def expect_digits(self, expected: Expected) -> None: ...

    def press_after_turn(self, digits: str) -> None:
        """Raises CallControlError where keys cannot be pressed on this line."""
        ...


def phone_tools(controls: CallControls, targets: Mapping[str, str]) -> tuple[Tool, ...]:
    """The tools of one call. ``targets`` are numbers by the names the agent knows them under."""

    @tool(limit_s=5.0)
    async def end_call() -> dict[str, str]:
        """End the telephone call once the caller has said goodbye or needs nothing else. Say goodbye with it."""
        controls.end_after_turn()
        return {"status": "the call ends when your next words have been heard", "next": "say goodbye, briefly"}

    @tool(limit_s=5.0)
    async def collect_digits(
        max_digits: Annotated[int, Field(ge=1, le=MAX_DIGITS)] = MAX_DIGITS,
        terminator: Annotated[str, Field(pattern=r"^[*#]?$")] = "#",
        pause_s: Annotated[float, Field(ge=1, le=15)] = 4.0,
        choices: Annotated[dict[str, str] | None, Field(max_length=12)] = None,
    ) -> dict[str, str]:
        """Let the caller enter digits on the keypad: a number, a code, or the choice of a menu.

        Args:
            max_digits: how many digits make the entry complete.
            terminator: the key that ends an entry of any length.
            pause_s: how long to wait for another key.
            choices: for a menu, what each key means, such as {"1": "sales"}.
        """
        length = max((len(key) for key in choices), default=max_digits) if choices else max_digits
        controls.expect_digits(Expected(length, terminator, round(pause_s * 1_000), choices or {}))
        return {"status": "waiting for keys", "next": "tell the caller what to enter; it comes as their next message"}

    @tool(limit_s=5.0)
    async def transfer_call(
        to: Annotated[str, Field(max_length=80)],
        summary: Annotated[str | None, Field(max_length=600)] = None,
    ) -> dict[str, Any]:
        """Connect the caller with a person or a department, and leave the call.

        Args:
            to: whom; one of the names you were given.
            summary: what the person who takes the call should hear first, in one or two sentences.
        """
        wanted = to.strip().casefold()
        number = next((number for name, number in targets.items() if name.casefold() == wanted), None)
        if number is None:
            raise ToolError(f"There is nobody called that to transfer to. There are: {', '.join(targets)}.")
        controls.transfer_after_turn(number, summary)
        return {"status": "the caller is connected when your next words have been heard", "next": "say whom they get"}

    @tool(limit_s=5.0)
    async def send_digits(
        digits: Annotated[str, Field(pattern=KEYS_PATTERN)],
    ) -> dict[str, str]:
        """Press keys on the telephone towards the other side: for its menu, an extension or a conference code.

        Args:
            digits: the keys 0 to 9, *, # and A to D in order; w waits half a second, a comma two seconds.
        """
        try:
            controls.press_after_turn(digits)
        except CallControlError as error:
            raise ToolError(str(error)) from error
        return {"status": "the keys are pressed when your next words have been heard", "next": "say nothing, or little"}

    always = (end_call, collect_digits, send_digits)
    return (*always, transfer_call) if targets else always


def stop_recording_tool(stop: Callable[[], bool]) -> Tool:
    """The tool of a call that may be recorded. ``stop`` is False where nothing is recorded."""

    @tool(limit_s=5.0)
    async def stop_recording() -> dict[str, str]:
        """Stop recording this call, at once and for good, where the caller does not want it any longer."""
        if stop():
            return {"status": "nothing more of this call is recorded", "next": "tell the caller"}
        return {"status": "this call is not being recorded", "next": "tell the caller"}

    return stop_recording


def phone_instructions(caller: str, targets: Mapping[str, str]) -> str:
    """What an agent on the telephone has to know beside its own instructions."""
    said = ["You are on a telephone call: only speech is heard, so no lists, links or markup."]
    if caller:
        said.append(f"The caller's number is {caller}.")
    if targets:
        said.append(f"You can transfer the call to: {', '.join(targets)}.")
    return " ".join(said)
