"""What every alert must have: metrics that are there, a sentence, a page that says what to do, and a test that makes it fire."""

import re
from functools import cache
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from atp.observed import Readiness
from atp.store import Store, Stores
from cli.observe import process_metrics
from cli.observe.heartbeat import Heartbeat
from consumers.metrics import ConsumerMetrics
from service.metrics import ServiceMetrics
from tests import promql
from tests.alerting import RULES, Alert, alerts
from tests.promtool import promtool

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = ROOT / "docs/runbooks"
SECTIONS = ["What it means", "How to look", "What to do", "How to know that it is over"]
ALERTS = [pytest.param(alert, id=name) for name, alert in alerts().items()]


@cache
def metrics() -> set[str]:
    """The names of all samples that our processes can tell."""
    registry, stores = CollectorRegistry(), Stores(Store("redis://127.0.0.1:1"))
    process_metrics.register(registry, stores, Heartbeat(lambda: None), Readiness())
    ConsumerMetrics(registry)
    of_service = CollectorRegistry()  # some names are told by both faces
    ServiceMetrics([], stores, of_service)
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
    found = [metric for each in (registry, of_service) for metric in each.collect()]
    return {metric.name + suffix for metric in found for suffix in suffixes.get(metric.type, [""])}


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_reads_metrics_that_are_there(alert: Alert) -> None:
    assert promql.names(alert.expression) <= metrics()


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_urgent_it_is_and_what_it_means_in_one_sentence(alert: Alert) -> None:
    assert alert.severity in {"critical", "warning"}
    assert re.fullmatch(r"[^\n]{30,250}\.", alert.summary)
    assert "atp_" not in alert.summary


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_leads_to_a_page_that_says_what_to_do(alert: Alert) -> None:
    assert alert.runbook == f"docs/runbooks/{alert.name}.md"
    page = (ROOT / alert.runbook).read_text()
    assert page.startswith(f"# {alert.name}\n")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == SECTIONS
    assert len(page.splitlines()) <= 35


def test_every_page_belongs_to_an_alert_and_every_alert_has_a_test_that_makes_it_fire() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == alerts().keys()
    tests = "".join(path.read_text() for path in (ROOT / "tests/e2e").glob("test_alerts_*.py"))
    assert set(re.findall(r'fires\("(\w+)"', tests)) == alerts().keys()


def test_prometheus_takes_the_rules_and_its_own_tests_of_their_time_windows_pass() -> None:
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(RULES.with_name("alerts_test.yml")))
