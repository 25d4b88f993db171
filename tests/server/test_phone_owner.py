"""To whom a telephone call belongs that comes with a carrier's own credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.scripted_server import served

SCHOOL = {"id": "school", "type": "school", "api_keys": ["a-key-of-the-school"]}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("local", "consumer")),
        ({"api_keys": ["an-operators-long-key"]}, ("default", "business")),
        ({"identity": {"require_keys": True}}, ("default", "business")),
        ({"telephony": {"tenant": "school"}, "tenants": [SCHOOL]}, ("school", "school")),
    ],
)
async def test_a_call_is_its_tenants_and_is_protected_as_that_type_is(
    tmp_path: Path, settings: dict[str, Any], expected: tuple[str, str]
) -> None:
    async with served(tmp_path, **settings) as server:
        owner = server.application.phones.owner
        assert (owner.tenant_id, owner.tenant_type) == expected
