"""The alert rules and the dashboard: valid, tried out, and about metrics that this server has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.observability.metrics import HTTP_BUCKETS_S, STAGE_BUCKETS_S, Metrics

INFRA = Path(__file__).parents[2] / "infra"
RULES = INFRA / "prometheus" / "convergio.rules.yml"
DASHBOARD = INFRA / "grafana" / "convergio-latency.json"
PROMTOOL = shutil.which("promtool") or shutil.which(INFRA.parent / ".venv-tools" / "promtool")


def promtool(*arguments: str) -> None:
    if PROMTOOL is None:
        pytest.skip("promtool is not there (make test unpacks it; Debian, Ubuntu: the package prometheus)")
    done = subprocess.run(
        [PROMTOOL, *arguments], cwd=RULES.parent, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_valid() -> None:
    promtool("check", "rules", RULES.name)


def test_the_rules_ring_when_they_should_and_only_then() -> None:
    promtool("test", "rules", "convergio.test.yml")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panel_expressions() -> Iterator[str]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def exposed() -> set[str]:
    """The names of all metrics, those included whose owners are elsewhere and report when they run."""
    metrics = Metrics()
    metrics.watch_counts("convergio_spans", "", "fate", lambda: {"made": 0})
    metrics.watch("convergio_usage_ledger_failed", "", lambda: 0)
    metrics.measure("total", None, "http", 1.0, None)
    metrics.http.labels("/healthz", 200).observe(1.0)
    metrics.turns.labels("failed").inc()
    metrics.errors.labels("internal").inc()
    return set(re.findall(r"^(convergio_\w+)", metrics.render()[0].decode(), re.MULTILINE))


def test_every_metric_that_is_asked_for_exists() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = [rule["expr"] for rule in rules()] + list(panel_expressions())
    names = {name for expression in asked for name in re.findall(r"\bconvergio_\w+", expression)}
    assert len(names) > 8
    assert names - exposed() == set()
    assert {name for expression in asked for name in re.findall(r"convergio:\w+:\w+", expression)} - recorded == set()


def test_the_objectives_are_bounds_of_buckets() -> None:
    """Else nothing would be counted as good."""
    bounds = {float(bound) for rule in rules() for bound in re.findall(r'le="([\d.]+)"', rule["expr"])}
    assert bounds == {0.8, 1.5}
    assert 1.5 in STAGE_BUCKETS_S
    assert 0.8 in HTTP_BUCKETS_S


def test_every_alert_says_what_to_do() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert {alert["labels"]["severity"] for alert in alerts} == {"page", "ticket"}
    for alert in alerts:
        assert (INFRA.parent / alert["annotations"]["runbook"]).is_file(), alert["alert"]


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        covered = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not covered & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= covered
