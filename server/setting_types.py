"""What the sections of the settings are made of: their base, and the types an environment variable can hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr
from pydantic_settings import NoDecode

Directory = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
"""A path with ``~`` resolved, made absolute against the working directory."""


def comma_separated(value: object) -> object:
    """Lists from the environment: ``a,b``, or JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_separated)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(comma_separated)]


class Section(BaseModel):
    """One table of the settings: frozen, and without room for names that are no settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")
