"""Tracing's settings, the header it reads, the labels it bounds, and that it costs nothing while it is off."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from agents.core.budget import LatencyBudget, Stage, StageChange
from agents.core.budget_profiles import profile
from agents.events import Interrupted, SessionStarted, SpeechStartedHeard
from server.observability.arrival import Arrival, arrival
from server.observability.label_values import OTHER, LabelValues
from server.observability.metrics import Metrics
from server.observability.session_watch import SessionWatch
from server.observability.trace_context import TraceParent, read_traceparent
from server.observability.tracing_choice import make_tracing
from server.settings import SettingsError, load_settings

ROOT = Path(__file__).parents[2]
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


# --- off ---


def test_off_nothing_of_opentelemetry_is_imported() -> None:
    code = (
        "import sys, asyncio\nfrom server.app import Application\nfrom server.settings import load_settings\n"
        "Application(load_settings())\nassert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_on_without_its_packages_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "server.observability.otel", raising=False)
    monkeypatch.delitem(sys.modules, "server.observability.session_spans", raising=False)
    loaded = [name for name in sys.modules if name.startswith("opentelemetry.")]  # by other tests
    for name in ("opentelemetry", *loaded):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match='the extra "telemetry"'):
        make_tracing(load_settings(telemetry={"enabled": True}))


# --- settings ---


def test_opentelemetrys_own_variables_are_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318/",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20phrase,x=1",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
        "OTEL_SERVICE_NAME": "school",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CONVERGIO_TELEMETRY__SERVICE_NAME", "mine")
    telemetry = load_settings().telemetry
    assert telemetry.enabled is False
    assert telemetry.endpoint == "https://collector:4318/v1/traces"
    assert telemetry.header_pairs == {"api-key": "a phrase", "x": "1"}
    assert (telemetry.timeout_s, telemetry.sample_ratio, telemetry.service_name) == (2.5, 0.25, "mine")
    assert "a phrase" not in repr(telemetry)


def test_the_traces_own_variable_is_a_whole_address_and_a_disabled_sdk_is_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "convergio.toml").write_text("[telemetry]\nenabled = true\n")
    assert load_settings().telemetry.enabled is True
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:4318/custom")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    telemetry = load_settings().telemetry
    assert (telemetry.endpoint, telemetry.enabled) == ("http://b:4318/custom", False)


def test_headers_that_are_none_are_refused_without_being_shown() -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(telemetry={"headers": "s3cret-without-a-name"})
    assert "telemetry.headers must be name=value" in str(refused.value)
    assert "s3cret" not in str(refused.value)


# --- trace context ---


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", TraceParent(TRACE, SPAN, sampled=True)),
        (f"00-{TRACE}-{SPAN}-02", TraceParent(TRACE, SPAN, sampled=False)),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", TraceParent(TRACE, SPAN, sampled=True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        ("", None),
        (None, None),
    ],
)
def test_traceparents_are_read_as_the_recommendation_has_it(header: str | None, expected: TraceParent | None) -> None:
    assert read_traceparent(header) == expected


def test_a_tracestate_is_kept_while_it_is_short_and_printable() -> None:
    header = f"00-{TRACE}-{SPAN}-01"
    kept = [read_traceparent(header, state) for state in ("a=1,b=2", "x" * 513, "a=\n1")]
    assert [parent and parent.state for parent in kept] == ["a=1,b=2", "", ""]


def test_two_traceparents_are_none() -> None:
    header = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
    assert arrival("chat", {"headers": [header]}).parent is not None
    assert arrival("chat", {"headers": [header, header]}).parent is None


# --- metrics ---


def samples(metrics: Metrics) -> dict[tuple[str, str, str], float]:
    """The sums of the stage histogram, by its labels."""
    content, _ = metrics.render("application/openmetrics-text")
    return {
        (sample.labels["stage"], sample.labels["provider"], sample.labels["transport"]): sample.value
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
        if sample.name == "convergio_turn_stage_seconds_sum"
    }


def test_connecting_and_falling_silent_are_measured_from_where_the_contract_says() -> None:
    metrics, now = Metrics(), iter([10.4, 20.0, 20.15])
    watch = SessionWatch(metrics, Arrival("webrtc", at_s=10.0), monotonic_s=lambda: next(now))
    watch.observe(SessionStarted("ses_1", "default", {}))
    watch.observe(SpeechStartedHeard(1, 900, ago_ms=120))
    watch.observe(Interrupted("turn_1", 300, "Well", resumable=True))
    watch.observe(Interrupted("turn_1", 300, "Well", resumable=False))  # the same silence, final now
    assert samples(metrics) == {
        ("connect", "none", "webrtc"): pytest.approx(0.4),
        ("barge_in", "none", "webrtc"): pytest.approx(0.27),
    }


def edge_budget(connect_ms: int, barge_in_ms: int) -> LatencyBudget:
    """The stages that only the edge measures, held to these."""
    changes: dict[Stage, StageChange] = {
        "connect": StageChange(deadline_ms=connect_ms),
        "barge_in": StageChange(deadline_ms=barge_in_ms),
    }
    return profile("embedded").changed(changes)


def breaches(metrics: Metrics) -> dict[str, float]:
    content, _ = metrics.render()
    name = b"convergio_latency_breaches_total{"
    lines = [line.decode().rsplit(" ", 1) for line in content.splitlines() if line.startswith(name)]
    return {labels[len(name) - 1 :]: float(value) for labels, value in lines}


@pytest.mark.parametrize(
    ("budget", "late"),
    [
        (None, {}),
        (edge_budget(401, 271), {}),
        (
            edge_budget(399, 269),
            {'{action="none",stage="connect"}': 1.0, '{action="none",stage="barge_in"}': 1.0},
        ),
    ],
)
def test_connecting_and_falling_silent_are_late_where_a_budget_says_so(
    budget: LatencyBudget | None, late: dict[str, float]
) -> None:
    metrics, now = Metrics(), iter([0.4, 20.0, 20.15])
    watch = SessionWatch(metrics, Arrival("webrtc", at_s=0.0), monotonic_s=lambda: next(now), budget=budget)
    watch.observe(SessionStarted("ses_1", "default", {}))
    watch.observe(SpeechStartedHeard(1, 900, ago_ms=120))
    watch.observe(Interrupted("turn_1", 300, "Well", resumable=True))
    watch.observe(Interrupted("turn_1", 300, "Well", resumable=False))
    assert breaches(metrics) == late


def test_a_budget_that_changes_within_a_session_counts_from_then_on() -> None:
    metrics, now = Metrics(), iter([20.0, 20.15, 30.0, 30.15])
    watch = SessionWatch(
        metrics, Arrival("websocket", at_s=0.0), monotonic_s=lambda: next(now), budget=edge_budget(400, 269)
    )
    for number, changed in enumerate((edge_budget(400, 271), edge_budget(400, 269))):
        watch.hold_to(changed)
        watch.observe(SpeechStartedHeard(number, 900, ago_ms=120))
        watch.observe(Interrupted(f"turn_{number}", 300, "Well", resumable=False))
        assert sum(breaches(metrics).values()) == number


def test_providers_are_a_bounded_label() -> None:
    metrics = Metrics()
    for number in range(40):
        metrics.measure("agent", f"provider-{number}", "http", 0.1, None)
    assert len(samples(metrics)) == 33
    values = LabelValues(2)
    assert [values.of(value) for value in ("a", "b", "c", "a", "x" * 65)] == ["a", "b", OTHER, "a", OTHER]


@pytest.mark.parametrize("accept", ["", "text/plain", "application/openmetrics-text; version=junk; escaping=junk"])
def test_any_accept_header_is_answered(accept: str) -> None:
    content, kind = Metrics().render(accept)
    assert kind.startswith("application/openmetrics-text" if "openmetrics" in accept else "text/plain")
    assert b"convergio_sessions_open" in content
