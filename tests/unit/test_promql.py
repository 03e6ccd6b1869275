"""The evaluator of alerts: each construct by hand, and the same by promtool where there is one."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.promql import Scrape, Series, Vector, evaluate, names, scrape
from tests.promtool import promtool

#: Name and labels of a series, and its values a minute apart.
SERIES: dict[str, list[float]] = {
    'heard{node="N1",pool="p",source="wms",instance="1"}': [100, 160, 220],
    'heard{node="N1",pool="p",source="wms",instance="2"}': [90, 150, 210],
    'heard{node="N2",pool="p",source="wms",instance="1"}': [0, 0, 0],
    'heard{node="S1",pool="p",source="tills",instance="1"}': [10, 10, 10],
    'rhythm{pool="p",source="wms"}': [60, 60, 60],
    'rhythm{pool="p",source="tills"}': [0, 0, 0],
    'rhythm{pool="p",source="erp"}': [600, 600, 600],
    'open{pool="p",reason="OVERCOMMITTED"}': [0, 1, 2],
    'open{pool="p",reason="MALFORMED"}': [3, 3, 3],
    'open{pool="q",reason="MALFORMED"}': [0, 0, 0],
    'calls{outcome="OK"}': [5, 25, 45],
    'calls{outcome="BACKLOG"}': [4, 4, 4],
    'restarted{outcome="OK"}': [50, 10, 30],
    'seconds{le="0.1"}': [0, 10, 20],
    'seconds{le="0.5"}': [0, 20, 60],
    'seconds{le="+Inf"}': [0, 30, 80],
}
#: At minute 2. Values that are None are not compared with promtool's: see tests/promql.py.
CASES: list[tuple[str, dict[str, float]]] = [
    ("max by (pool, reason) (open) > 1", {'{pool="p", reason="OVERCOMMITTED"}': 2, '{pool="p", reason="MALFORMED"}': 3}),
    ('max by (pool, reason) (open{reason="MALFORMED"}) == 0', {'{pool="q", reason="MALFORMED"}': 0}),
    ('max by (pool) (open{reason!="MALFORMED"})', {'{pool="p"}': 2}),
    ('sum by (pool) (open{reason=~"OVER.*|MALFORMED"}) >= 5', {'{pool="p"}': 5}),
    ('sum(open{reason!~"OVER.*"})', {"{}": 3}),
    ("max by (pool, source) (heard) - 20", {'{pool="p", source="wms"}': 200, '{pool="p", source="tills"}': -10}),
    ("time() - max by (source) (heard)", {'{source="wms"}': -100, '{source="tills"}': 110}),
    (
        "(time() - max by (pool, source, node) (heard)) > on (pool, source) group_left () (max by (pool, source) (rhythm) > 0)",
        {'{node="N2", pool="p", source="wms"}': 120},
    ),
    (
        "max by (pool, source) (heard) > on (pool, source) (max by (pool, source) (rhythm))",
        {'{pool="p", source="wms"}': 220, '{pool="p", source="tills"}': 10},
    ),
    ("max by (pool, source) (rhythm) > 0 unless on (source) heard", {'{pool="p", source="erp"}': 600}),
    ("max by (source) (rhythm) and on (source) max by (source) (heard)", {'{source="wms"}': 60, '{source="tills"}': 0}),
    ('max by (pool) (open{pool="q"}) or max by (pool) (open)', {'{pool="q"}': 0, '{pool="p"}': 3}),
    ('increase(calls{outcome="BACKLOG"}[5m]) > 0', {}),
    ("sum by (outcome) (increase(calls[2m])) > 0 and on () vector_of_nothing", {}),
    ("rate(calls[2m]) / on (outcome) rate(calls[2m]) > 0.5", {'{outcome="OK"}': 1}),
    ("rate(restarted[2m]) > 0 and on (outcome) (restarted == 30)", {'{outcome="OK"}': 0.25}),
    ("histogram_quantile(0.5, sum by (le) (rate(seconds[2m])))", {"{}": 0.3}),
    ("histogram_quantile(0.99, sum by (le) (rate(seconds[2m])))", {"{}": 0.5}),
    ("1 + 2 * open / 3 > 2", {'{pool="p", reason="OVERCOMMITTED"}': 1 + 4 / 3, '{pool="p", reason="MALFORMED"}': 3}),
]


def scrapes() -> list[Scrape]:
    pages = ["\n".join(f"{name} {values[minute]}" for name, values in SERIES.items()) + "\n" for minute in range(3)]
    found = []
    for minute, page in enumerate(pages):
        whole = scrape(60.0 * minute, [page])
        found.append(Scrape(whole.at_s, [Series(one.name, labels_in(one), one.value) for one in whole.series]))
    return found


def labels_in(series: Series) -> frozenset[tuple[str, str]]:
    """Without the instance that a scrape adds, where the page named none."""
    named = series.name == "heard"
    return frozenset(pair for pair in series.labels if named or pair[0] != "instance")


def written(vector: Vector) -> dict[str, float]:
    return {"{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels)) + "}": value for labels, value in vector.items()}


@pytest.mark.parametrize(("expression", "expected"), CASES, ids=[case[0] for case in CASES])
def test_what_an_expression_gives(expression: str, expected: dict[str, float]) -> None:
    found = evaluate(expression, scrapes())
    assert isinstance(found, dict)
    assert written(found) == pytest.approx(expected)


@pytest.mark.parametrize(
    "expression", ["open offset 5m", "max without (pool) (open)", "quantile by (pool) (0.5, open)", "abs(open)", "open > bool 1"]
)
def test_what_is_not_evaluated_is_refused(expression: str) -> None:
    with pytest.raises(NotImplementedError):
        evaluate(expression, scrapes())


def test_an_expression_tells_the_metrics_it_reads() -> None:
    assert names("max by (a) (b) > on (a) (rate(c[5m]) unless d) and time() - b > 3") == {"b", "c", "d"}


def test_several_processes_are_told_apart() -> None:
    found = evaluate("max by (pool) (open)", [scrape(0, ['open{pool="p"} 1\n', 'open{pool="p"} 2\n'])])
    assert found == {frozenset({("pool", "p")}): 2}


def test_promtool_says_the_same(tmp_path: Path) -> None:
    checks: list[dict[str, Any]] = [
        {"expr": expression, "eval_time": "2m", "exp_samples": [{"labels": labels, "value": value} for labels, value in expected.items()]}
        for expression, expected in CASES
    ]
    series = [{"series": name, "values": " ".join(map(str, values))} for name, values in SERIES.items()]
    tests = {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": checks}]}
    (tmp_path / "tests.yml").write_bytes(msgspec.json.encode(tests))  # JSON is YAML too
    promtool("test", "rules", "tests.yml", folder=tmp_path)
