from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from metering.errors import PriceSheetError
from metering.pricing.book import PriceBook, date_day
from metering.pricing.sheets import packaged_sheets, parse_sheet, read_sheets, sheet_document, sheet_of
from metering.quantities import METERS

SHEET = """
schema = 1
provider = "azure"
currency = "EUR"
valid_from = 2026-01-01
status = "confirmed"
source = "the price page, as of 2026-01-01"

[[price]]
meter = "audio_ms_in"
per = "hour"
price = 0.917
rounding = "second"

[[price]]
model = "special"
meter = "audio_ms_in"
per = "hour"
price = "2"
"""


def sheet(**changes: str):
    text = SHEET
    for name, value in changes.items():
        text = "\n".join(f"{name} = {value}" if line.startswith(f"{name} =") else line for line in text.splitlines())
    return parse_sheet(text, "azure.toml")


def test_a_sheet_is_read_exactly_also_where_a_price_is_written_as_a_number() -> None:
    read = sheet()
    assert (read.provider, read.currency, read.valid_from) == ("azure", "EUR", date(2026, 1, 1))
    assert [price.price for price in read.prices] == [Decimal("0.917"), Decimal(2)]


def test_a_sheet_kept_as_a_document_is_the_same_sheet() -> None:
    read = sheet()
    assert sheet_of(sheet_document(read), read.name) == read


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("schema = 1", "schema = 2", "schema must be 1"),
        ('provider = "azure"', "", "provider is missing"),
        ('"EUR"', '"euros"', "currency cannot be 'euros'"),
        ("2026-01-01\n", '"soon"\n', "valid_from must be a date"),
        ('status = "confirmed"', 'status = "confirmed"\nvalid_until = 2025-01-01', "later than valid_from"),
        ('"confirmed"', '"perhaps"', "status cannot be 'perhaps'"),
        ("0.917", '"-1"', "price 1: price must be an amount"),
        ("0.917", '"nan"', "price 1: price must be an amount"),
        ("0.917", "true", "price 1: price must be an amount"),
        ('per = "hour"\nprice = 0.917', 'per = "million"\nprice = 0.917', "audio_ms_in is not priced per million"),
        ('model = "special"', 'typo = "special"', "there is nothing called typo"),
        ('model = "special"', "", "two prices for audio_ms_in with model *"),
        ('meter = "audio_ms_in"\nper = "hour"\nprice = "2"', 'meter = "smiles"', "price 2: meter cannot be 'smiles'"),
        ("[[price]]", "[price]", "it is not TOML"),
    ],
)
def test_what_is_wrong_with_a_sheet_is_told_in_a_sentence(old: str, new: str, words: str) -> None:
    assert old in SHEET
    with pytest.raises(PriceSheetError) as caught:
        parse_sheet(SHEET.replace(old, new), "azure.toml")
    assert any(words in problem and problem.startswith("azure.toml: ") for problem in caught.value.problems)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(PriceSheetError) as caught:
        parse_sheet("schema = 9\nprice = 5", "x.toml")
    assert len(caught.value.problems) >= 6


def test_the_newest_valid_sheet_counts_and_a_models_own_price_before_any_models() -> None:
    old, new = sheet(), sheet(valid_from="2026-07-01", currency='"USD"')
    book = PriceBook([new, old])

    def currency(model: str, on: date) -> tuple[str, Decimal] | None:
        offer = book.offer("azure", model, "audio_ms_in", date_day(on))
        return None if offer is None else (offer.sheet.currency, offer.price.price)

    assert currency("conversation", date(2025, 12, 31)) is None
    assert currency("conversation", date(2026, 1, 1)) == ("EUR", Decimal("0.917"))
    assert currency("special", date(2026, 6, 30)) == ("EUR", Decimal(2))
    assert currency("conversation", date(2026, 7, 1)) == ("USD", Decimal("0.917"))
    assert book.offer("azure", "conversation", "tts_characters", date_day(date(2026, 7, 1))) is None
    assert book.offer("other", "conversation", "audio_ms_in", date_day(date(2026, 7, 1))) is None


def test_a_sheet_ends_where_it_says() -> None:
    ended = parse_sheet(SHEET.replace("status", "valid_until = 2026-02-01\nstatus"), "azure.toml")
    book = PriceBook([ended])
    assert book.offer("azure", "m", "audio_ms_in", date_day(date(2026, 1, 31))) is not None
    assert book.offer("azure", "m", "audio_ms_in", date_day(date(2026, 2, 1))) is None


def test_two_sheets_of_a_provider_from_one_day_on_contradict_each_other() -> None:
    with pytest.raises(PriceSheetError, match="prices azure from 2026-01-01 too"):
        PriceBook([sheet(), sheet()])


def test_an_example_is_never_counted_with() -> None:
    book = PriceBook([sheet(status='"example"')])
    assert book.offer("azure", "m", "audio_ms_in", date_day(date(2026, 1, 31))) is None


def test_what_comes_with_the_program_is_valid_and_only_what_is_free_is_confirmed() -> None:
    sheets = packaged_sheets()
    PriceBook(sheets)
    for packaged in sheets:
        free = all(price.price == 0 for price in packaged.prices)
        assert (packaged.status == "confirmed") == (free and packaged.currency == "XXX"), packaged.name
    assert {"azure", "azure_openai", "openai", "openai_compatible"} <= {sheet.provider for sheet in sheets}
    assert {price.meter for packaged in sheets for price in packaged.prices} == set(METERS)


def test_files_and_directories_are_read_and_what_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(SHEET)
    (tmp_path / "notes.txt").write_text("no sheet")
    assert [read.name for read in read_sheets([tmp_path, tmp_path / "a.toml"])] == ["a.toml", "a.toml"]
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PriceSheetError, match=r"b\.toml: it cannot be read"):
        read_sheets([tmp_path])
