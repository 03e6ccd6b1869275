"""The simulated feeds: every event arrives, under its own sequence, however much is sent twice or late."""

import asyncio
import itertools
from collections import Counter
from random import Random

import msgspec
import nats.errors
import pytest

from atp.events import Event
from cli.retail import feed as module
from cli.retail.feed import HELD_BACK_MAX, Feed, FeedError

decode = msgspec.json.Decoder(Event).decode


class JetStream:
    """Keeps what is published; refuses the first `failures` messages."""

    def __init__(self, failures: int = 0) -> None:
        self.published: list[tuple[str, bytes]] = []
        self.failures = failures

    async def publish(self, subject: str, body: bytes) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise nats.errors.TimeoutError
        self.published.append((subject, body))


def test_mischief_loses_nothing_and_stays_within_the_window() -> None:
    js = JetStream()
    feed = Feed(js, "p", Random(1))

    async def send() -> None:
        for number in range(500):
            await feed.receipt("A" if number % 2 else "B", [("MUG", 1)])
        await feed.flush()

    asyncio.run(send())
    sequences = {
        node: [event.data.sequence for event in map(decode, (body for _, body in js.published)) if event.data.node == node] for node in "AB"
    }
    for seen in sequences.values():
        assert set(seen) == set(range(1, 251))
        assert max(before - after for before, after in itertools.pairwise(seen)) > 0, "some come after later ones"
        assert all(before - after < HELD_BACK_MAX * 10 for before, after in itertools.pairwise(seen))
    copies = Counter(js.published)
    assert sum(copies.values()) - len(copies) == feed.duplicates > 0, "a duplicate is the same message to the last byte"
    assert feed.sent == {"receipt": 500}


def test_an_event_is_sent_again_until_jetstream_has_it_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PUBLISH_PAUSE_S", 0)
    js = JetStream(failures=3)
    asyncio.run(Feed(js, "p").receipt("A", [("MUG", 1)]))
    assert [subject for subject, _ in js.published] == ["inv.p.wms.receipt"]
    with pytest.raises(FeedError):
        asyncio.run(Feed(JetStream(failures=99), "p").receipt("A", [("MUG", 1)]))
