"""The role `auditor`: follows each pool's ledger as JetStream has it, and tells at once where a rule that never bends was bent.

It is the audit of `atp verify` without the store. Any number may run: each audits for itself.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from nats.js import JetStreamContext

from atp.audit import Audit
from atp.exceptions import PublishedException, State, sentence
from atp.model.status import ExceptionReason
from consumers import exceptions, ledger_writer, restoring
from consumers.audit_start import start_with
from consumers.checkpoints import TornCheckpointError
from consumers.connection import AWAY, Outage, pause
from consumers.ledger_reader import LedgerGapError, read_ledger
from consumers.metrics import AuditMetrics, ConsumerMetrics
from consumers.open_exceptions import OpenExceptions
from consumers.pools import Pools

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0  # between looks at where JetStream is, and at what there is to tell
SLICE_S: Final = 0.002  # of auditing, before other roles of the process have their turn
_CANCEL_AGAIN_S: Final = 0.1
_COUNTS: Final = 2  # the rule that later entries can put right: counts are sums


async def audit(js: JetStreamContext, pools: Pools, metrics: ConsumerMetrics, stop: asyncio.Event, *, alone: bool) -> None:
    """Until the stop. `alone`: no other role in this process wants its turn."""
    rest_s = 0.0 if alone else SLICE_S
    async with asyncio.TaskGroup() as group:
        group.create_task(OpenExceptions(js, pools, metrics.exceptions).follow(stop))
        group.create_task(pools.for_each(lambda pool: PoolAuditor(js, pool, metrics.audit, rest_s).run(stop), "auditor", stop))


class PoolAuditor:
    """One pool, from its latest checkpoint on, or from its first entry: what an auditor knows it has from JetStream alone."""

    def __init__(self, js: JetStreamContext, pool: str, metrics: AuditMetrics, rest_s: float) -> None:
        self._js = js
        self._pool = pool
        self._metrics = metrics
        self._rest_s = rest_s
        self._audit = Audit(comparing=False)
        self._caught_up_at: int | None = None  # the revision from which on what is found is news
        self._logged: Counter[int] = Counter()
        self._told: Counter[int] | None = None  # violations by rule when the exceptions were last brought up to date

    async def run(self, stop: asyncio.Event) -> None:
        following = asyncio.create_task(self._follow(), name=f"audit {self._pool}")
        outage = Outage(f"the auditor of pool {self._pool}")
        try:
            while not stop.is_set():
                try:
                    await self._look()
                except AWAY as error:
                    await outage.wait(error, stop)
                else:
                    outage.over()
                    await pause(stop, LOOK_S)
        finally:
            while not following.done():
                following.cancel()  # again and again: nats-py waits with wait_for, which in Python 3.11 may swallow one
                await asyncio.wait({following}, timeout=_CANCEL_AGAIN_S)

    # --- following ------------------------------------------------------------------------------------------------
    async def _follow(self) -> None:
        """For ever, or until the ledger cannot be followed any further."""
        may_begin = True
        while not self._audit.broken:
            try:
                if may_begin:
                    self._audit = await self._begin()
                    may_begin = False
                async with contextlib.aclosing(read_ledger(self._js, self._pool, self._audit.revision, follow=True)) as ledger:
                    async for entries in ledger:
                        if not await self._take(entries):
                            return
            except (TornCheckpointError, *AWAY):
                await asyncio.sleep(LOOK_S)
            except LedgerGapError as error:
                self._audit.violation(9, "ledger", str(error))
                self._audit.broken = True
            except Exception:
                # Whatever is wrong with one pool's audit, the other pools' and the other roles go on.
                log.exception("the audit of pool %s failed and begins anew, with the first entry", self._pool)
                self._audit, may_begin = Audit(comparing=False), False
                await asyncio.sleep(LOOK_S)

    async def _begin(self) -> Audit:
        """Where the latest checkpoint is whole: what stands there must add up."""
        audit = Audit(comparing=False)
        manifest = await restoring.newest(self._js, self._pool, (await ledger_writer.last_position(self._js, self._pool)).revision)
        if manifest is None:
            return audit
        turns = Turns(self._rest_s)
        start = await start_with(self._js, manifest, turns.give_way, comparing=False)
        for _ in audit.begin(start):
            await turns.give_way()
        log.info("pool %s: audited from revision %d on: up to there it is taken from a checkpoint", self._pool, audit.begun + 1)
        return audit

    async def _take(self, entries: Sequence[bytes]) -> bool:
        """Whether it can go on. In slices: a long ledger is caught up with while feeds and relay of the same process go on."""
        turns = Turns(self._rest_s)
        for entry in entries:
            self._audit.follow(entry)
            await turns.give_way()
        self._metrics.followed(self._pool, self._audit)
        self._log()
        return not self._audit.broken

    def _log(self) -> None:
        """What is new among the violations that are kept in words."""
        for rule, named in self._audit.findings.named.items():
            for text in named[self._logged[rule] :]:
                log.error("pool %s: %s", self._pool, text)
            self._logged[rule] = len(named)

    # --- telling --------------------------------------------------------------------------------------------------
    async def _look(self) -> None:
        """Compares with where JetStream is, and brings the exceptions up to date once all that was there has been followed."""
        revision = (await ledger_writer.last_position(self._js, self._pool)).revision
        audit = self._audit
        self._metrics.behind(self._pool, revision - audit.revision)
        self._metrics.followed(self._pool, audit)
        if self._caught_up_at is None:
            self._caught_up_at = revision
        if audit.broken or audit.revision >= self._caught_up_at:
            await self._tell()

    async def _tell(self) -> None:
        audit = self._audit
        self._log()
        standing = Counter(audit.findings.numbers)
        standing[0] = len(audit.unbalanced)
        if standing == self._told:
            return
        for rule in audit.findings.numbers:
            await self._tell_rule(rule)
        self._told = standing

    async def _tell_rule(self, rule: int) -> None:
        """Once as long as it stands; and that it stands no longer."""
        audit = self._audit
        known = await exceptions.show(self._js, self._pool, _exception_id(rule))
        is_open = known is not None and known.state == "open"
        if rule in audit.lasting or (rule == _COUNTS and audit.unbalanced):
            # What a person has ended is not told again, only what was found since.
            if not is_open and (known is None or audit.findings.latest[rule] > known.revision):
                await self._publish(rule, "open", self._detail(rule), audit.findings.latest[rule])
        elif is_open:
            await self._publish(rule, "resolved", "", audit.revision)

    def _detail(self, rule: int) -> str:
        found = self._audit.findings
        rows = f"; {len(self._audit.unbalanced)} rows are wrong now" if rule == _COUNTS and self._audit.unbalanced else ""
        more = found.numbers[rule] - 1
        return f"{found.named[rule][0]}{f' (and {more} more)' if more else ''}{rows}"

    async def _publish(self, rule: int, state: State, detail: str, revision: int) -> None:
        reason = ExceptionReason.RULE_BROKEN
        told = PublishedException(
            id=_exception_id(rule),
            pool=self._pool,
            reason=reason,
            state=state,
            sentence=sentence(reason, state, pool=self._pool, cause=f"rule {rule}", detail=detail),
            time=datetime.now(UTC),
            cause=f"rule {rule}",
            revision=revision,
        )
        await exceptions.publish(self._js, told, f"{self._pool}.{told.id}.{revision}.{state}")


class Turns:
    """Gives way to other tasks of the process, now and then."""

    def __init__(self, rest_s: float) -> None:
        self._rest_s = rest_s
        self._began = time.perf_counter()

    async def give_way(self) -> None:
        if time.perf_counter() - self._began > SLICE_S:
            await asyncio.sleep(self._rest_s)
            self._began = time.perf_counter()


def _exception_id(rule: int) -> str:
    return f"rule:{rule}"
