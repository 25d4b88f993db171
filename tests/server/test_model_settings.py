"""The settings of language models: what may be said of them, what is refused, and which models come of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.models.embedded_llama import EmbeddedLlama
from agents.models.fallback import FallbackModel
from agents.models.openai_client import make_client
from agents.models.openai_compatible import OpenAICompatibleModel
from server import model_choice
from server.model_choice import build_model
from server.model_settings import FallbackSettings, ModelSettings
from server.settings import SettingsError, load_settings

AZURE = {"engine": "azure", "endpoint": "https://me.openai.azure.com", "deployment": "gpt-voice", "api_key": "k" * 20}
LOCAL = {"base_url": "http://localhost:11434/v1", "model": "llama3.2"}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def model(**fields: Any) -> ModelSettings:
    return load_settings(model=fields).model


def problems_of(**fields: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        model(**fields)
    return "\n".join(caught.value.problems)


def test_azure_is_named_plainly_or_told_by_its_endpoint() -> None:
    assert (model(**AZURE).kind, model(**AZURE).is_azure) == ("openai", True)
    assert model(**(AZURE | {"engine": "auto"})).is_azure
    identity = model(**(AZURE | {"api_key": None, "managed_identity": True, "client_id": "me"}))
    assert identity.is_azure


def test_the_old_way_of_naming_azure_goes_on_working() -> None:
    old = model(base_url="https://me.openai.azure.com", model="gpt", api_key="k", azure_api_version="2024-10-21")
    assert (old.kind, old.is_azure, old.address, old.name) == ("openai", False, "https://me.openai.azure.com", "gpt")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"endpoint": None}, "model.endpoint must say where the Azure OpenAI resource is"),
        ({"deployment": None}, "model.deployment must name the deployment"),
        ({"api_key": None}, "model.api_key must hold the resource's key, or managed_identity be true"),
        ({"managed_identity": True}, "model.api_key and managed_identity exclude each other"),
        ({"endpoint": "me.openai.azure.com"}, "model.endpoint must start with https://"),
        ({"engine": "openai"}, "are Azure's"),
        ({"azure_api_version": "2024-10-21?x=1"}, "azure_api_version"),
        ({"takeover_s": 0}, "model.takeover_s"),
        ({"gap_s": 60}, "model.gap_s"),
        ({"fallback": [{"engine": "azure", "endpoint": "https://other"}]}, "deployment must name the deployment"),
        ({"fallback": [{"base_url": "http://localhost/v1"}]}, "model must name the model"),
        ({"fallback": [{"engine": "same"}]}, "model must name the other model"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(changes: dict[str, Any], words: str) -> None:
    told = problems_of(**(AZURE | changes))
    assert words in told
    assert "kkkk" not in told


def names(settings: ModelSettings) -> list[tuple[str, str, str | None]]:
    return [(entry.engine, entry.name, entry.address) for entry in settings.stand_ins]


def test_a_name_is_another_deployment_at_the_same_address() -> None:
    settings = model(**AZURE, fallback=["gpt-small", "embedded"])
    assert names(settings) == [("azure", "gpt-small", AZURE["endpoint"]), ("embedded", "", None)]
    assert settings.stand_ins[0].api_key == settings.api_key
    assert names(model(**LOCAL, fallback=["phi4"])) == [("openai", "phi4", LOCAL["base_url"])]


def test_the_embedded_model_steps_in_by_default_and_nobody_where_none_is_wanted() -> None:
    assert names(model(**AZURE)) == [("embedded", "", None)]
    assert names(model(**AZURE, fallback=[])) == []
    assert model().stand_ins == (), "it does not stand in for itself"


def test_stand_ins_come_from_the_environment_and_from_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONVERGIO_MODEL__FALLBACK", "gpt-small, embedded")
    assert [name for _, name, _ in names(model(**AZURE))] == ["gpt-small", ""]
    monkeypatch.setenv("CONVERGIO_MODEL__FALLBACK", "none")
    assert names(model(**AZURE)) == []
    monkeypatch.setenv("CONVERGIO_MODEL__FALLBACK", json.dumps([LOCAL | {"engine": "openai"}, "embedded"]))
    assert names(model(**AZURE)) == [("openai", "llama3.2", LOCAL["base_url"]), ("embedded", "", None)]
    monkeypatch.delenv("CONVERGIO_MODEL__FALLBACK")
    file = tmp_path / "convergio.toml"
    file.write_text(
        '[model]\nbase_url = "http://a/v1"\nmodel = "a"\n[[model.fallback]]\nbase_url = "http://b/v1"\nmodel = "b"\n'
    )
    assert names(load_settings(file).model) == [("openai", "b", "http://b/v1")]


def test_no_key_of_any_of_them_is_shown() -> None:
    settings = model(**AZURE, fallback=[LOCAL | {"api_key": "sk-of-the-other"}])
    assert "kkkk" not in repr(settings) + str(settings.model_dump())
    assert "sk-of" not in repr(settings) + str(settings.model_dump())


async def test_the_models_are_built_in_order_with_their_limits() -> None:
    pytest.importorskip("xllamacpp")
    built = await build_model(model(**AZURE, fallback=["gpt-small", "embedded"], takeover_s=0.7, gap_s=3))
    assert isinstance(built, FallbackModel)
    assert [guarded.name for guarded in built.models][:2] == ["azure_openai gpt-voice", "azure_openai gpt-small"]
    first, _, last = (guarded.model for guarded in built.models)
    assert isinstance(first, OpenAICompatibleModel)
    assert isinstance(last, EmbeddedLlama)
    assert first._config.gap_s == 3
    assert built._takeover_s == 0.7
    assert str(make_client(first._config).base_url) == "https://me.openai.azure.com/openai/v1/"
    await built.aclose()


async def test_a_stand_in_that_cannot_be_had_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = model(**AZURE, model_path=tmp_path / "none.gguf")
    built = await build_model(settings)
    assert isinstance(built, FallbackModel)
    assert [guarded.name for guarded in built.models] == ["azure_openai gpt-voice"]
    assert model_choice.why_degraded(built) is None
    await built.aclose()


async def test_old_settings_ask_the_dated_address() -> None:
    old = model(
        base_url="https://me.openai.azure.com", model="gpt", api_key="k", azure_api_version="2024-10-21", fallback=[]
    )
    built = await build_model(old)
    assert isinstance(built, FallbackModel)
    (only,) = built.models
    assert isinstance(only.model, OpenAICompatibleModel)
    assert str(make_client(only.model._config).base_url) == "https://me.openai.azure.com/openai/deployments/gpt/"
    await built.aclose()


def test_a_table_says_by_itself_what_it_is() -> None:
    assert FallbackSettings.model_validate("embedded") == FallbackSettings(engine="embedded")
    assert FallbackSettings.model_validate("x") == FallbackSettings(engine="same", model="x")
