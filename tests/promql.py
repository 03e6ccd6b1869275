"""Evaluates the part of PromQL that the alerts are written in, over scrapes; a Prometheus is not needed to see an alert fire.

The grammar is promql-parser's. What is not evaluated here raises NotImplementedError: an alert is not to use it. `rate` and `increase` take
the first and the last sample of their range as they are, where Prometheus extrapolates to the ends of the range: alerts compare them with 0
or divide them by each other. `tests/unit/test_promql.py` has promtool, where there is one, say the same of every construct.
"""

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import promql_parser as ast
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Value = float | Vector


class Series(NamedTuple):
    """One sample of one series."""

    name: str
    labels: Labels
    value: float


class Scrape(NamedTuple):
    """All that was read at one time, Unix seconds."""

    at_s: float
    series: list[Series]


def scrape(at_s: float, pages: Iterable[str]) -> Scrape:
    """The pages of several processes in Prometheus' text format, each an instance of its own."""
    found = [
        Series(sample.name, frozenset({"instance": str(number), **sample.labels}.items()), sample.value)
        for number, page in enumerate(pages)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    ]
    return Scrape(at_s, found)


def evaluate(expression: str, scrapes: Sequence[Scrape]) -> Value:
    """The expression's value at the time of the last scrape; labels without the name of the metric."""
    return _Evaluation(scrapes).of(ast.parse(expression))


def names(expression: str) -> set[str]:
    """The metrics that it reads."""
    found: set[str] = set()

    def note(node: Any) -> bool:
        if isinstance(node, ast.VectorSelector):
            found.add(node.name or "")
        elif isinstance(node, ast.MatrixSelector):
            found.add(node.vector_selector.name or "")
        return True

    ast.walk(ast.parse(expression), pre_visit=note)
    return found


_ARITHMETIC: Final[dict[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else math.nan if not a or math.isnan(a) else math.copysign(math.inf, a),
}
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_AGGREGATIONS: Final[dict[str, Callable[[Iterable[float]], float]]] = {"sum": sum, "max": max, "min": min}
_SETS: Final = {"and", "unless", "or"}


class _Evaluation:
    def __init__(self, scrapes: Sequence[Scrape]) -> None:
        self._scrapes = scrapes
        self._now_s = scrapes[-1].at_s

    def of(self, node: Any) -> Value:
        kinds: dict[type, Callable[[Any], Value]] = {
            ast.NumberLiteral: lambda number: number.val,
            ast.ParenExpr: lambda group: self.of(group.expr),
            ast.VectorSelector: self._select,
            ast.AggregateExpr: self._aggregate,
            ast.Call: self._call,
            ast.BinaryExpr: self._binary,
        }
        if type(node) not in kinds:
            raise NotImplementedError(f"{type(node).__name__}: {node.prettify()}")
        return kinds[type(node)](node)

    def _vector(self, node: Any) -> Vector:
        found = self.of(node)
        if not isinstance(found, dict):
            raise NotImplementedError(f"a vector is wanted: {node.prettify()}")
        return found

    # --- selectors ------------------------------------------------------------------------------------------------
    def _select(self, selector: Any) -> Vector:
        return {labels: samples[-1][1] for labels, samples in self._samples(selector, self._scrapes[-1:]).items()}

    def _samples(self, selector: Any, scrapes: Sequence[Scrape]) -> dict[Labels, list[tuple[float, float]]]:
        """Time and value of the samples of each series that the selector names."""
        if selector.offset or selector.at or selector.matchers.or_matchers:
            raise NotImplementedError(selector.prettify())
        matches = [_matcher(matcher) for matcher in selector.matchers.matchers]
        found: dict[Labels, list[tuple[float, float]]] = {}
        for one in scrapes:
            for series in one.series:
                if series.name == selector.name and all(match(dict(series.labels)) for match in matches):
                    found.setdefault(series.labels, []).append((one.at_s, series.value))
        return found

    def _increases(self, matrix: Any) -> dict[Labels, tuple[float, float]]:
        """By how much each counter rose within the range, a restart not counted as a fall, and in how many seconds."""
        scrapes = [one for one in self._scrapes if self._now_s - one.at_s <= matrix.range.total_seconds()]
        found = {}
        for labels, samples in self._samples(matrix.vector_selector, scrapes).items():
            if len(samples) > 1:  # of one sample nobody can say whether it rose
                values = [value for _, value in samples]
                rise = sum(after - before if after >= before else after for before, after in pairwise(values))
                found[labels] = rise, samples[-1][0] - samples[0][0]
        return found

    # --- functions ------------------------------------------------------------------------------------------------
    def _call(self, call: Any) -> Value:
        name, arguments = call.func.name, call.args
        if name == "time":
            return self._now_s
        if name == "increase":
            return {labels: rise for labels, (rise, _) in self._increases(arguments[0]).items()}
        if name == "rate":
            return {labels: rise / seconds for labels, (rise, seconds) in self._increases(arguments[0]).items()}
        if name == "histogram_quantile":
            return _quantiles(float(arguments[0].val), self._vector(arguments[1]))
        raise NotImplementedError(name)

    def _aggregate(self, node: Any) -> Vector:
        combine = _AGGREGATIONS.get(str(node.op))
        if combine is None or (node.modifier is not None and node.modifier.type != ast.AggModifierType.By):
            raise NotImplementedError(node.prettify())
        kept = set(node.modifier.labels) if node.modifier else set()
        groups: dict[Labels, list[float]] = {}
        for labels, value in self._vector(node.expr).items():
            groups.setdefault(_only(labels, kept), []).append(value)
        return {labels: combine(values) for labels, values in groups.items()}

    # --- operators ------------------------------------------------------------------------------------------------
    def _binary(self, node: Any) -> Value:
        name, left, right = str(node.op), self.of(node.lhs), self.of(node.rhs)
        if node.modifier is not None and node.modifier.return_bool:
            raise NotImplementedError(node.prettify())
        if isinstance(left, dict) and isinstance(right, dict):
            return self._of_vectors(node, name, left, right)
        if name in _SETS:
            raise NotImplementedError(node.prettify())
        if isinstance(left, dict):
            return _kept((labels, _combined(name, value, right, value)) for labels, value in left.items())
        if isinstance(right, dict):
            return _kept((labels, _combined(name, left, value, value)) for labels, value in right.items())
        return _ARITHMETIC[name](left, right)

    def _of_vectors(self, node: Any, name: str, left: Vector, right: Vector) -> Vector:
        modifier = node.modifier
        matching = modifier.matching if modifier else None
        if matching is not None and matching.type != ast.LabelModifierType.Include:
            raise NotImplementedError(node.prettify())
        on = set(matching.labels) if matching is not None else None
        if name in _SETS:
            return _set_operation(name, left, right, on)
        many = modifier is not None and modifier.card == ast.VectorMatchCardinality.ManyToOne
        if modifier is not None and (modifier.group_labels or (not many and modifier.card != ast.VectorMatchCardinality.OneToOne)):
            raise NotImplementedError(node.prettify())
        others: dict[Labels, float] = {}
        for labels, value in right.items():
            if others.setdefault(_only(labels, on), value) is not value:
                raise ValueError(f"several series on the right match one another: {node.prettify()}")
        pairs = [(labels, value, others[_only(labels, on)]) for labels, value in left.items() if _only(labels, on) in others]
        if not many and len({_only(labels, on) for labels, _, _ in pairs}) < len(pairs):
            raise ValueError(f"several series on the left match one another: {node.prettify()}")
        drops = on is not None and not many
        return _kept((_only(labels, on) if drops else labels, _combined(name, value, other, value)) for labels, value, other in pairs)


def _matcher(matcher: Any) -> Callable[[dict[str, str]], bool]:
    is_pattern = matcher.op in (ast.MatchOp.Re, ast.MatchOp.NotRe)
    negated = matcher.op in (ast.MatchOp.NotEqual, ast.MatchOp.NotRe)

    def matches(labels: dict[str, str]) -> bool:
        said = labels.get(matcher.name, "")
        return (bool(re.fullmatch(matcher.value, said)) if is_pattern else said == matcher.value) != negated

    return matches


def _only(labels: Labels, kept: set[str] | None) -> Labels:
    return labels if kept is None else frozenset((name, value) for name, value in labels if name in kept)


def _combined(name: str, left: float, right: float, kept: float) -> float | None:
    """A comparison keeps the value of the vector's side, or drops it."""
    if name in _ARITHMETIC:
        return _ARITHMETIC[name](left, right)
    return kept if _COMPARISONS[name](left, right) else None


def _kept(values: Iterable[tuple[Labels, float | None]]) -> Vector:
    return {labels: value for labels, value in values if value is not None}


def _set_operation(name: str, left: Vector, right: Vector, on: set[str] | None) -> Vector:
    ours, theirs = ({_only(labels, on) for labels in side} for side in (left, right))
    if name == "or":
        return left | {labels: value for labels, value in right.items() if _only(labels, on) not in ours}
    return {labels: value for labels, value in left.items() if (_only(labels, on) in theirs) == (name == "and")}


def _quantiles(quantile: float, buckets: Vector) -> Vector:
    """Within its bucket a value is taken to lie anywhere, as Prometheus takes it."""
    histograms: dict[Labels, list[tuple[float, float]]] = {}
    for labels, count in buckets.items():
        others = frozenset(pair for pair in labels if pair[0] != "le")
        histograms.setdefault(others, []).append((float(dict(labels)["le"]), count))
    return {labels: _quantile(quantile, sorted(found)) for labels, found in histograms.items()}


def _quantile(quantile: float, buckets: list[tuple[float, float]]) -> float:
    total = buckets[-1][1]
    if not total or len(buckets) < 2 or not math.isinf(buckets[-1][0]):
        return math.nan
    rank = quantile * total
    index = next(number for number, (_, count) in enumerate(buckets) if count >= rank)
    if index == len(buckets) - 1:
        return buckets[-2][0]
    low, below = buckets[index - 1] if index else (0.0, 0.0)
    high, count = buckets[index]
    return low + (high - low) * (rank - below) / (count - below)
