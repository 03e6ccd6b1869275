"""The roles that take what other systems send, `webhooks` and `files`: their settings, and what runs of them."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nats.aio.client import Client

from atp.errors import InvalidRequestError, Violation
from consumers.feeds import FeedSettings
from consumers.files import take_files
from consumers.incoming import Incoming
from consumers.intake import JetStreamIntake
from consumers.metrics import IncomingMetrics
from consumers.webhooks import Webhooks, receive

ROLES: Final = ("webhooks", "files")


@dataclass(frozen=True, slots=True)
class WaysIn:
    """`listen` is where webhooks come, host and port, `folder` where files do; without one there is no such way."""

    feeds: tuple[FeedSettings, ...] = ()
    listen: tuple[str, int] | None = None
    folder: Path | None = None

    @property
    def configured(self) -> set[str]:
        """The roles that have something to do."""
        found = {"webhooks": self.listen, "files": self.folder}
        return {role for role in ROLES if found[role] is not None}

    def check(self, roles: Iterable[str]) -> None:
        """Raises InvalidRequestError for a role that was not told where its messages come."""
        settings = {"webhooks": "webhooks.listen", "files": "files.folder"}
        missing = [settings[role] for role in ROLES if role in roles and role not in self.configured]
        if missing:
            raise InvalidRequestError([Violation(name, "must be set (docs/configuration.md)") for name in missing])


async def take_in(roles: set[str], connection: Client, ways: WaysIn, metrics: IncomingMetrics, stop: asyncio.Event) -> None:
    """Runs those of the roles that are of this kind, until the stop."""
    incoming = Incoming(JetStreamIntake(connection), connection.jetstream())
    async with asyncio.TaskGroup() as group:
        if "webhooks" in roles and ways.listen:
            signed = {feed.name: feed for feed in ways.feeds if feed.secret}
            group.create_task(receive(*ways.listen, Webhooks(signed, incoming, metrics), stop), name="webhooks")
        if "files" in roles and ways.folder:
            group.create_task(take_files(ways.folder, ways.feeds, incoming, metrics, stop), name="files")
