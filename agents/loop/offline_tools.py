"""Tools of the client's for models that cannot call tools themselves: which one is meant, and with what arguments.

Which tool is meant is a rule over words; the model only fills in the arguments, held to the tool's own schema while it
writes. Results go back to the model as text (``agents.models.fitting``). Pure; driven by ``agents.loop.agent`` where
the profile has no tools.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from agents.loop.brief import Brief
from agents.models.port import Message, ModelRequest, ToolNamed, ToolRequest, ToolSpec

MAX_ARGUMENT_TOKENS: Final = 96
_WORD: Final = re.compile(r"[a-z]{3,}")
_COMMON: Final = frozenset(
    "the and for from with that this what when where which who how can could would will should you your are was were "
    "has have had get gets give gives tell show find look let please into about then than them they their there its "
    "not any use used using call function tool user value string number return returns name current given".split()
)


def meant_tool(question: str, brief: Brief) -> ToolSpec | None:
    """The client's tool that is to be called: the one it named, or the one whose words the user used.

    A word of the tool's name counts as two of its description's; two are needed, unless a tool is required.
    """
    tools, choice = brief.tools, brief.tool_choice
    if not tools or choice == "none":
        return None
    if isinstance(choice, ToolNamed):
        return next((tool for tool in tools if tool.name == choice.name), None)
    said = _stems(question)
    best = max(tools, key=lambda tool: _score(tool, said))  # the first of several
    return best if choice == "required" or _score(best, said) >= 2 else None


def arguments_request(question: str, tool: ToolSpec, system: Message) -> ModelRequest:
    """What a model is asked, so that it writes the tool's arguments and nothing else."""
    names = ", ".join(tool.parameters.get("properties", {}))
    task = f"Fill in {names} for '{tool.name}' ({tool.description}) from what the user says. Answer with JSON only."
    return ModelRequest(
        messages=(system, Message("user", f"{task}\nThe user says: {question}")),
        schema=tool.parameters,
        max_output_tokens=MAX_ARGUMENT_TOKENS,
        temperature=0.0,
    )


def needs_arguments(tool: ToolSpec) -> bool:
    """Whether the tool takes any."""
    return bool(tool.parameters.get("properties"))


def request_for(tool: ToolSpec, arguments: str, call_id: str) -> ToolRequest:
    """The call; arguments that are no JSON object after all are left out."""
    try:
        value: Any = json.loads(arguments)
    except ValueError:
        value = {}
    return ToolRequest(call_id, tool.name, json.dumps(value if isinstance(value, dict) else {}, ensure_ascii=False))


def _score(tool: ToolSpec, said: frozenset[str]) -> int:
    return 2 * len(_stems(tool.name.replace("_", " ")) & said) + len(_stems(tool.description) & said)


def _stems(text: str) -> frozenset[str]:
    words = set(_WORD.findall(text.lower())) - _COMMON
    return frozenset(word.removesuffix("s").removesuffix("e") for word in words)
