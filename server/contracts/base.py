"""What all models of the public API share: strict values, frozen, tolerant of fields they do not know.

A reader ignores unknown fields, so a newer client may talk to an older server and the other way round; an unknown
``type`` is an error, because there is nothing sensible to do with it. Values are strict: ``"16000"`` is not ``16000``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Contract(BaseModel):
    """Base of every public model."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        populate_by_name=True,
    )


ClientId = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:~-]+$")]
"""An id chosen by a client: letters, digits and ``. _ : ~ -``, up to 128."""

ServerId = Annotated[str, Field(min_length=1, max_length=128)]
"""An id chosen by the server: opaque to clients."""

AgentId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
"""The name of an agent, as ``GET /v1/agents`` lists them."""

Locale = Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$")]
"""A BCP 47 language tag, such as ``en-US``."""

Milliseconds = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""Whole milliseconds; never beyond what a JavaScript number holds exactly."""

Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""A whole quantity."""
