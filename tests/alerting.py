"""The alert rules as they are delivered, and what a person would read of one that fires."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.promql import Labels, Scrape, evaluate

RULES = Path(__file__).resolve().parents[1] / "deploy/prometheus/alerts.yml"
_WITH = re.compile(r"{{ with \$labels\.(\w+) }}(.*?){{ end }}")
_PLACE = re.compile(r'{{ (?:\$labels\.(\w+)|(printf "%\.0f" \$value)|\$value \| humanizeDuration) }}')


class Alert(NamedTuple):
    name: str
    expression: str
    severity: str
    summary: str
    runbook: str


class Firing(NamedTuple):
    """One series that an alert fires for; the summary is the sentence as it is sent."""

    labels: dict[str, str]
    value: float
    summary: str


@cache
def alerts() -> dict[str, Alert]:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    found = [
        Alert(rule["alert"], rule["expr"], rule["labels"]["severity"], rule["annotations"]["summary"], rule["annotations"]["runbook_url"])
        for rule in rules
    ]
    assert len({alert.name for alert in found}) == len(found)
    return {alert.name: alert for alert in found}


def firing(name: str, scrapes: list[Scrape]) -> list[Firing]:
    """What the alert finds at the time of the last scrape, without waiting as long as its `for`."""
    alert = alerts()[name]
    found = evaluate(alert.expression, scrapes)
    assert isinstance(found, dict)
    return [Firing(dict(labels), value, in_words(alert.summary, labels, value)) for labels, value in sorted(found.items(), key=str)]


def in_words(summary: str, labels: Labels, value: float) -> str:
    """The summary with its places filled; raises KeyError for a label that the alert does not have."""
    known = dict(labels)
    text = _WITH.sub(lambda found: found[2].replace("{{ . }}", known[found[1]]) if known[found[1]] else "", summary)

    def filled(found: re.Match[str]) -> str:
        return known[found[1]] if found[1] else f"{value:.0f}" if found[2] else f"{value:.0f}s"

    text = _PLACE.sub(filled, text)
    assert "{{" not in text, f"this place is not known here: {text}"
    return text
