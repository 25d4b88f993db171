"""Where tenants' keys may be used: what is public, names that change their mind, connections to what was looked at."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import httpx
import pytest

from agents.errors import ModelUnavailable
from agents.models.pinned import PinnedTransport
from agents.models.port import Message, ModelRequest, TextDelta
from server.vault.addresses import Addresses, AddressRefused, is_public
from server.vault.provider_keys import KeyPlace, Provider
from server.vault.tenant_clients import ModelLimits, tenant_model
from tests.server.vault.provider_stand_in import Providers, providers_here

LIMITS = ModelLimits(2.0, 5.0, 5.0, 1.5, 8_192)
QUESTION = ModelRequest((Message("user", "hello"),))


@pytest.fixture
def providers() -> Iterator[Providers]:
    with providers_here() as here:
        yield here


class Names:
    """A name service that answers differently each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("10.0.0.1", False),
        ("172.16.3.4", False),
        ("192.168.1.1", False),
        ("127.8.8.8", False),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("100.100.100.200", False),
        ("192.0.0.192", False),
        ("168.63.129.16", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("::127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::5db8:d822", True),
    ],
)
def test_what_is_public(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize(
    "address",
    [
        "https://school.cognitiveservices.azure.com.evil.example",
        "https://cloudapp.azure.com",
        "https://school.westeurope.cloudapp.azure.com",
        "https://openai.azure.com.evil.example/x",
        "https://example.org",
        "wss://93.184.216.34",
    ],
)
def test_azures_services_are_under_azures_own_names(address: str) -> None:
    with pytest.raises(AddressRefused):
        Addresses(()).url(address, azure=True)
    assert Addresses(()).url("https://school.openai.azure.com", azure=True).hostname == "school.openai.azure.com"


async def test_a_name_with_one_private_address_is_refused_whole() -> None:
    addresses = Addresses((), Names(["93.184.216.34", "10.0.0.1"]))
    with pytest.raises(AddressRefused, match="public"):
        await addresses.address_of("models.example.org", 443)


async def test_a_name_nobody_knows_is_refused_in_words() -> None:
    addresses = Addresses((), Names([]))
    with pytest.raises(AddressRefused, match="not known"):
        await addresses.address_of("models.example.org", 443)


async def test_a_name_that_turns_private_after_the_check_is_not_followed(providers: Providers) -> None:
    """DNS rebinding: public when it was checked, loopback when the connection is made."""
    names = Names(["93.184.216.34"], ["127.0.0.1"])
    addresses = Addresses((), names)
    assert await addresses.address_of("rebinding.example.org", providers.port) == "93.184.216.34"
    place = KeyPlace(base_url=f"http://rebinding.example.org:{providers.port}/v1", model="any")
    model = tenant_model("openai-compatible", place, "sk-test-canary", addresses.address_of, LIMITS)
    with pytest.raises(ModelUnavailable):
        async for _ in model.stream(QUESTION):
            pass
    await model.aclose()
    assert names.asked == 2
    assert providers.asked == []


async def test_the_connection_goes_to_the_address_that_was_looked_at_and_names_the_host(providers: Providers) -> None:
    names = Names(["127.0.0.1"])
    addresses = Addresses(["allowed.example.org"], names)
    place = KeyPlace(base_url=f"http://allowed.example.org:{providers.port}/v1", model="any")
    model = tenant_model("openai-compatible", place, "sk-test-canary", addresses.address_of, LIMITS)
    said = [event.text async for event in model.stream(QUESTION) if isinstance(event, TextDelta)]
    await model.aclose()
    assert "".join(said).strip() == "Thank you for telling me."
    assert names.asked == 1


async def test_host_header_and_tls_name_stay_the_hosts() -> None:
    seen: list[httpx.Request] = []

    class Inner(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return httpx.Response(204)

    async def address_of(host: str, port: int) -> str:
        assert (host, port) == ("models.example.org", 443)
        return "93.184.216.34"

    transport = PinnedTransport(Inner(), address_of)
    async with httpx.AsyncClient(transport=transport) as client:  # type: ignore[arg-type]
        await client.get("https://models.example.org/v1/models")
    (request,) = seen
    assert request.url.host == "93.184.216.34"
    assert request.headers["host"] == "models.example.org"
    assert request.extensions["sni_hostname"] == "models.example.org"


async def test_redirects_are_not_followed(providers: Providers) -> None:
    with providers_here() as other:
        providers.mood, providers.elsewhere = "redirects", other.url
        addresses = Addresses(["127.0.0.1"])
        place = KeyPlace(base_url=f"{providers.url}/v1", model="any")
        model = tenant_model("openai-compatible", place, "sk-test-canary", addresses.address_of, LIMITS)
        with pytest.raises(ModelUnavailable):
            async for _ in model.stream(QUESTION):
                pass
        await model.aclose()
        assert other.asked == []


@pytest.mark.parametrize(
    ("provider", "version"), [("openai-compatible", None), ("azure-openai", None), ("azure-openai", "2024-10-21")]
)
async def test_nothing_of_the_operators_environment_reaches_a_tenants_provider(
    providers: Providers, monkeypatch: pytest.MonkeyPatch, provider: Provider, version: str | None
) -> None:
    for name in (
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "OPENAI_API_KEY",
        "AZURE_OPENAI_API_KEY",
        "AZURE_OPENAI_AD_TOKEN",
    ):
        monkeypatch.setenv(name, "of-the-operator")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway: of-the-operator\nAuthorization: of-the-operator")
    monkeypatch.setenv("HTTPS_PROXY", "http://of-the-operator:9")
    monkeypatch.setenv("HTTP_PROXY", "http://of-the-operator:9")
    if provider == "azure-openai":
        place = KeyPlace(endpoint=providers.url, deployment="gpt-voice", api_version=version)
    else:
        place = KeyPlace(base_url=f"{providers.url}/v1", model="any")
    model = tenant_model(provider, place, "sk-test-canary", Addresses(["127.0.0.1"]).address_of, LIMITS)
    await model.warm_up(())
    await model.aclose()
    (headers,) = providers.headers
    assert "of-the-operator" not in repr(headers)
    assert "sk-test-canary" in repr(headers)
