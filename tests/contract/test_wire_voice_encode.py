"""What the voice codec makes of server events, held against the published models."""

from __future__ import annotations

import base64
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import events
from server.contracts.errors import ErrorCode
from server.contracts.voice import SERVER_MESSAGE, SERVER_MESSAGES, type_of
from server.wire.voice_json import EncodedAudio, VoiceCodec
from tests.contract.wire_events import JSON_EVENTS, events_of, ids, whole
