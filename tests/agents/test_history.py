"""What a conversation remembers, and how it forgets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.loop.history import History, HistoryLimits
from agents.models.port import Message, ToolRequest
from agents.models.tokens import estimate_message_tokens, estimate_tokens


def said(history: History) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in history.messages()]


def test_turns_are_kept_in_order_behind_the_system_prompt() -> None:
    history = History()
    history.user("Hi")
    history.assistant_heard("Hello!")
    assert history.messages("Be brief.") == (
        Message("system", "Be brief."),
        Message("user", "Hi"),
        Message("assistant", "Hello!"),
    )


def test_an_interrupted_reply_is_what_was_heard_and_says_so() -> None:
    history = History()
    history.user("Tell me a story")
    history.assistant_heard("Once upon a time there. ", interrupted=True)
    assert said(history)[-1] == ("assistant", "Once upon a time there…")


def test_a_reply_of_which_nothing_was_heard_leaves_no_trace() -> None:
    history = History()
    history.user("Tell me")
    history.assistant_heard("", interrupted=True)
    history.user("No, wait")
    assert said(history) == [("user", "Tell me\nNo, wait")]


def test_a_greeting_comes_before_the_first_user() -> None:
    history = History()
    history.assistant_heard("Hi, I'm here.")
    history.user("Hello")
    assert [role for role, _ in said(history)] == ["assistant", "user"]


def test_tools_stand_with_their_requests_before_the_answer() -> None:
    history = History()
    history.user("What time is it?")
    asked = ToolRequest("a", "clock", "{}")
    history.tool_result(asked, '{"time": "12:00"}')
    history.assistant_heard("It's noon.")
    _, request, result, answer = history.messages()
    assert request.tool_requests == (asked,)
    assert (result.role, result.tool_call_id) == ("tool", "a")
    assert answer.text == "It's noon."


def test_a_draft_sees_what_would_be_and_changes_nothing() -> None:
    history = History()
    history.user("Hi")
    history.assistant_heard("Hello!")
    before = history.messages("S")
    draft = history.with_user("How are you?", "S")
    assert history.messages("S") == before
    history.user("How are you?")
    assert history.messages("S") == draft


ENTRIES = st.lists(
    st.tuples(st.sampled_from(["user", "heard", "cut", "tool"]), st.text(max_size=400)), min_size=1, max_size=60
)


def play(entries: list[tuple[str, str]], limits: HistoryLimits) -> History:
    history = History(limits)
    for number, (kind, text) in enumerate(entries):
        match kind:
            case "user":
                history.user(text)
            case "tool":
                history.tool_result(ToolRequest(f"c{number}", "t", "{}"), text)
            case _:
                history.assistant_heard(text, interrupted=kind == "cut")
    return history


@given(ENTRIES, st.text(max_size=300))
def test_drafts_and_history_always_agree(entries: list[tuple[str, str]], text: str) -> None:
    history = play(entries, HistoryLimits(max_turns=6, max_tokens=300))
    draft = history.with_user(text)
    history.user(text)
    assert history.messages() == draft


@given(ENTRIES)
def test_tool_results_never_stand_without_their_request(entries: list[tuple[str, str]]) -> None:
    messages = play(entries, HistoryLimits(max_turns=4, max_tokens=200)).messages()
    asked: set[str] = set()
    for message in messages:
        asked |= {request.call_id for request in message.tool_requests}
        assert message.tool_call_id is None or message.tool_call_id in asked


@given(ENTRIES, st.text(max_size=3_000))
def test_a_new_turn_brings_the_history_within_its_bounds(entries: list[tuple[str, str]], text: str) -> None:
    limits = HistoryLimits(max_turns=5, max_tokens=300)
    history = play(entries, limits)
    history.user(text)
    messages = history.messages()
    assert sum(message.role == "user" for message in messages) <= limits.max_turns
    assert sum(estimate_message_tokens(message) for message in messages) <= limits.max_tokens


def test_forgetting_is_rare_and_the_prefix_stands_in_between() -> None:
    history = History(HistoryLimits(max_turns=20, max_tokens=100_000))
    changes = 0
    before: tuple[Message, ...] = ()
    for number in range(100):
        history.user(f"question {number}")
        history.assistant_heard(f"answer {number}")
        now = history.messages("S")
        changes += now[: len(before)] != before
        before = now
    assert changes <= 10


def test_a_very_long_message_keeps_its_beginning_and_its_end() -> None:
    history = History(HistoryLimits(max_tokens=200))
    history.user("FIRST " + "blah " * 5_000 + "LAST")
    ((_, text),) = said(history)
    assert text.startswith("FIRST")
    assert text.endswith("LAST")
    assert estimate_tokens(text) <= 100


def test_limits_for_a_context_leave_room_for_the_reply() -> None:
    limits = HistoryLimits.for_context(2_048, "Be brief.", 96)
    assert 1_200 < limits.max_tokens < 2_048 - 96
    assert HistoryLimits.for_context(512, "x" * 8_000, 500).max_tokens > 0


def test_what_is_withheld_stays_so_when_it_is_put_right_but_not_when_something_else_is_asked() -> None:
    history = History()
    history.user("say something terible", "u1")
    history.withhold_user()
    history.assistant_heard("No.")
    history.correct("u1", "Say something terrible.")
    assert said(history) == [("user", "…"), ("assistant", "No.")]
    history.ask_anew("u1", "Say something terrific.")
    history.correct("u1", "Say something terrific!")
    assert said(history) == [("user", "Say something terrific!"), ("assistant", "No.")]
