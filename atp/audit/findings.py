"""What an audit found and how much it looked at; bounded, so that one broken rule does not drown the others."""

from collections import Counter, defaultdict

import msgspec

VIOLATIONS_OF_A_RULE_MAX = 20


class VerifyReport(msgspec.Struct, frozen=True):
    """`violations` name the rule, the key and the revision; `checked` counts what was looked at, by name.

    What entries up to `begun` did was taken from a checkpoint and not looked at; 0: all were looked at.
    """

    ok: bool
    violations: list[str]
    checked: dict[str, int]
    begun: int = 0


class Findings:
    """Collects violations and counts."""

    def __init__(self) -> None:
        self.checked: Counter[str] = Counter()
        self.numbers: Counter[int] = Counter()  # violations by rule
        self.latest: dict[int, int] = {}  # by rule, the revision at which the last one was found
        self.named: defaultdict[int, list[str]] = defaultdict(list)  # the first of them, in words

    def violation(self, rule: int, where: str, sentence: str, revision: int) -> None:
        """Notes that DESIGN rule `rule` was found not to hold at a key, at a revision."""
        self.numbers[rule] += 1
        self.latest[rule] = revision
        if len(self.named[rule]) < VIOLATIONS_OF_A_RULE_MAX:
            self.named[rule].append(f"rule {rule}: {where}: {sentence}")

    def report(self) -> VerifyReport:
        violations = []
        for rule, number in sorted(self.numbers.items()):
            violations += self.named[rule]
            if more := number - len(self.named[rule]):
                violations.append(f"rule {rule}: and {more} more")
        return VerifyReport(not violations, violations, dict(self.checked))
