"""The table of error codes."""

from __future__ import annotations

import pytest

from server.contracts.errors import ERRORS, ErrorBody, ErrorCode, error_body

PUBLISHED = (
    "auth.invalid auth.forbidden request.invalid request.too_large quota.exceeded rate.limited "
    "billing.payment_required byok.missing_key provider.timeout provider.rate_limited provider.unavailable "
    "plugin.denied plugin.failed session.not_found session.expired server.overloaded server.draining internal"
).split()


def test_the_codes_are_the_published_ones() -> None:
    assert [code.value for code in ErrorCode] == PUBLISHED


def test_the_table_is_total() -> None:
    assert list(ERRORS) == list(ErrorCode)


def test_close_codes_are_private_and_tell_every_error_apart() -> None:
    close_codes = [meaning.close_code for meaning in ERRORS.values()]

    assert len(set(close_codes)) == len(ErrorCode)
    assert all(4_000 <= code <= 4_999 for code in close_codes)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_is_an_http_failure_with_a_sentence(code: ErrorCode) -> None:
    meaning = ERRORS[code]

    assert 400 <= meaning.http_status <= 599
    assert meaning.sentence[0].isupper()
    assert meaning.sentence.endswith(".")


def test_an_error_body_says_the_tables_sentence_unless_there_is_a_better_one() -> None:
    plain = error_body(ErrorCode.SERVER_OVERLOADED, "req_1")
    better = error_body(ErrorCode.SERVER_OVERLOADED, "req_1", "Ten sessions are running.", {"retry_after_s": 2})

    assert plain.error.message == ERRORS[ErrorCode.SERVER_OVERLOADED].sentence
    assert better.error.message == "Ten sessions are running."
    assert better.error.details == {"retry_after_s": 2}
    assert plain.error.retryable


def test_an_error_body_reads_as_published() -> None:
    body = error_body(ErrorCode.AUTH_INVALID, "req_1", "No key.").model_dump_json(exclude_none=True)

    assert body == ('{"request_id":"req_1","error":{"code":"auth.invalid","message":"No key.","retryable":false}}')
    assert ErrorBody.model_validate_json(body).error.code is ErrorCode.AUTH_INVALID
