"""What an audit found and how much it looked at; bounded, so that one broken rule does not drown the others."""

from collections import Counter

import msgspec

VIOLATIONS_OF_A_RULE_MAX = 20


class VerifyReport(msgspec.Struct, frozen=True):
    """`violations` name the rule, the key and the revision; `checked` counts what was looked at, by name."""

    ok: bool
    violations: list[str]
    checked: dict[str, int]


class Findings:
    """Collects violations and counts."""

    def __init__(self) -> None:
        self.checked: Counter[str] = Counter()
        self._violations: dict[int, list[str]] = {}
        self._more: Counter[int] = Counter()

    def violation(self, rule: int, where: str, sentence: str) -> None:
        """Notes that DESIGN rule `rule` does not hold at a key."""
        found = self._violations.setdefault(rule, [])
        if len(found) < VIOLATIONS_OF_A_RULE_MAX:
            found.append(f"rule {rule}: {where}: {sentence}")
        else:
            self._more[rule] += 1

    def report(self) -> VerifyReport:
        violations = []
        for rule, found in sorted(self._violations.items()):
            violations += found
            if self._more[rule]:
                violations.append(f"rule {rule}: and {self._more[rule]} more")
        return VerifyReport(not violations, violations, dict(self.checked))
