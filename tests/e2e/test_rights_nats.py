"""Who may do what at NATS: a table of all that could be tried, held against the users of `deploy/nats/nats.conf`."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from atp import events
from atp.canonical import ContentError
from atp.intake import Taken
from atp.model.status import ExceptionReason
from cli.embedded import NatsServer, nats_binary
from consumers import exceptions, ledger_writer, streams
from consumers.connection import Client, NatsRefusedError, NatsSettings, connect, connect_once
from consumers.intake import JetStreamIntake
from consumers.ledger_reader import LedgerGapError, read_ledger
from consumers.refused import exception_of
from tests.e2e.consuming import until
from tests.e2e.secured import NATS_CONF, POOL, nats_as, nats_users, password, secured_nats

ADMIN, ALL, AUDITOR, FEEDS, RELAY, SWEEPER = "atp-admin", "atp-consumers", "atp-auditor", "atp-feeds", "atp-relay", "atp-sweeper"
BACKUP, INTAKE, SERVICE, WMS = "atp-backup", "atp-intake", "atp-service", "wms"
READERS = {ADMIN, ALL, AUDITOR, RELAY}
WRITERS = {ADMIN, ALL, RELAY}
NOBODY: set[str] = set()

#: What can be published or asked → who may.
PUBLISH: dict[str, set[str]] = {
    "ledger.main": WRITERS,
    "checkpoint.main.0.manifest": {ADMIN, ALL, AUDITOR},
    "exc.main.digest": {*READERS, FEEDS, INTAKE},
    "inv.main.wms.receipt": {ADMIN, ALL, INTAKE, SERVICE, WMS},
    "inv.main.erp.receipt": {ADMIN, ALL, INTAKE, SERVICE},
    "inv.other.wms.receipt": {ADMIN, ALL, INTAKE, SERVICE},
    "anything": NOBODY,
    "_INBOX.atp.relay.x": NOBODY,
    "$SYS.REQ.SERVER.PING": NOBODY,
    "$JS.API.INFO": {BACKUP},
    "$JS.API.STREAM.LIST": {ALL, AUDITOR, BACKUP, FEEDS, RELAY, SWEEPER},
    "$JS.API.STREAM.NAMES": {BACKUP},
    "$JS.API.STREAM.INFO.LEDGER-main": {*READERS, BACKUP, FEEDS},
    "$JS.API.STREAM.CREATE.LEDGER-main": {ADMIN},
    "$JS.API.STREAM.UPDATE.LEDGER-main": {ADMIN},
    "$JS.API.STREAM.DELETE.LEDGER-main": NOBODY,
    "$JS.API.STREAM.PURGE.LEDGER-main": NOBODY,
    "$JS.API.STREAM.DELETE.CHECKPOINT-main": NOBODY,
    "$JS.API.STREAM.PURGE.CHECKPOINT-main": NOBODY,
    "$JS.API.STREAM.MSG.GET.CHECKPOINT-main": READERS,
    "$JS.API.CONSUMER.CREATE.CHECKPOINT-main": READERS,
    "$JS.API.STREAM.DELETE.INVENTORY": NOBODY,
    "$JS.API.STREAM.PURGE.INVENTORY": NOBODY,
    "$JS.API.STREAM.MSG.DELETE.LEDGER-main": NOBODY,
    "$JS.API.STREAM.MSG.GET.LEDGER-main": READERS,
    "$JS.API.STREAM.MSG.GET.EXCEPTIONS": {*READERS, FEEDS},
    "$JS.API.STREAM.MSG.GET.INVENTORY": {ADMIN, ALL, FEEDS},
    "$JS.API.DIRECT.GET.LEDGER-main": NOBODY,
    "$JS.API.STREAM.SNAPSHOT.LEDGER-main": {BACKUP},
    "$JS.SNAPSHOT.ACK.LEDGER-main.x": {BACKUP},
    "$JS.API.STREAM.RESTORE.LEDGER-main": {BACKUP},
    "$JS.SNAPSHOT.RESTORE.LEDGER-main.x": {BACKUP},
    "$JS.API.STREAM.LEADER.STEPDOWN.LEDGER-main": NOBODY,
    "$JS.API.CONSUMER.CREATE.LEDGER-main": READERS,
    "$JS.API.CONSUMER.INFO.LEDGER-main.x": READERS,
    "$JS.API.CONSUMER.MSG.NEXT.LEDGER-main.x": READERS,
    "$JS.API.CONSUMER.DELETE.LEDGER-main.x": READERS,
    "$JS.API.CONSUMER.CREATE.INVENTORY": NOBODY,
    "$JS.API.CONSUMER.CREATE.INVENTORY.feeds-main.inv.main.>": {ADMIN},
    "$JS.API.CONSUMER.CREATE.INVENTORY.x": {ADMIN},
    "$JS.API.CONSUMER.DURABLE.CREATE.INVENTORY.x": NOBODY,
    "$JS.API.CONSUMER.INFO.INVENTORY.feeds-main": {ADMIN, ALL, FEEDS},
    "$JS.API.CONSUMER.DELETE.INVENTORY.feeds-main": NOBODY,
    "$JS.API.CONSUMER.PAUSE.INVENTORY.feeds-main": NOBODY,
    "$JS.API.CONSUMER.MSG.NEXT.INVENTORY.feeds-main": {ALL, FEEDS},
    "$JS.ACK.INVENTORY.feeds-main.1.1.1.1.1": {ALL, FEEDS},
    "$JS.ACK.EXCEPTIONS.x.1.1.1.1.1": NOBODY,
}
#: Rights that do not end with their last word. All others do, so one word more is nobody's.
OPEN_ENDED = ("$JS.ACK.", "$JS.SNAPSHOT.", "$JS.API.CONSUMER.CREATE.INVENTORY")
PUBLISH |= {f"{subject}.x": NOBODY for subject in PUBLISH if not subject.startswith(OPEN_ENDED)}
#: What can be listened to → who may.
SUBSCRIBE: dict[str, set[str]] = {
    ">": NOBODY,
    "inv.>": NOBODY,
    "ledger.>": NOBODY,
    "checkpoint.>": NOBODY,
    "exc.>": NOBODY,
    "$JS.>": NOBODY,
    "$SYS.>": NOBODY,
    "_INBOX.>": NOBODY,
    "_INBOX.atp.>": {ADMIN},
    "_INBOX.atp.feeds.x": {ADMIN, FEEDS},
    "_INBOX.atp.relay.x": {ADMIN, RELAY},
    "_INBOX.atp.sweeper.x": {ADMIN, SWEEPER},
    "_INBOX.atp.auditor.x": {ADMIN, AUDITOR},
    "_INBOX.atp.drift.x": {ADMIN, AUDITOR},
    "_INBOX.atp.all.x": {ADMIN, ALL},
    "_INBOX.atp.service.x": {ADMIN, SERVICE},
    "_INBOX.atp.webhooks.x": {ADMIN, INTAKE},
    "_INBOX.atp.files.x": {ADMIN, INTAKE},
    "_INBOX.atp-backup.x": {BACKUP},
    "_INBOX.wms.x": {WMS},
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NatsServer]:
    with secured_nats(tmp_path, monkeypatch) as server:
        yield server


class Trying(Client):
    """Notes what it is refused."""

    def __init__(self, where: NatsSettings) -> None:
        super().__init__(where, "table")
        self.refused: set[str] = set()

    async def _process_err(self, err_msg: str) -> None:
        self.refused.add(err_msg)  # nats-py has put it in small letters


def said(verb: str, subject: str) -> str:
    return f"'permissions violation for {verb} to \"{subject.lower()}\"'"


async def refusals(server: NatsServer, user: str) -> set[str]:
    """What the server says of all that the table has."""
    client = Trying(nats_as(user, server))
    await client.open(allow_reconnect=False)
    try:
        for subject in PUBLISH:
            await client.publish(subject, b"")
        for subject in SUBSCRIBE:
            await client.subscribe(subject)
        for _ in range(2):  # nats-py sends the first ping ahead of what it has in hand
            await client.flush()
    finally:
        await client.close()
    return client.refused


@pytest.mark.parametrize("user", nats_users())
def test_a_user_may_do_what_the_table_says_and_nothing_else(server: NatsServer, user: str) -> None:
    refused = {said("publish", subject) for subject, users in PUBLISH.items() if user not in users}
    refused |= {said("subscription", subject) for subject, users in SUBSCRIBE.items() if user not in users}
    assert asyncio.run(refusals(server, user)) == refused


def test_the_table_knows_every_user_of_the_file() -> None:
    assert set(nats_users()) == {user for users in (*PUBLISH.values(), *SUBSCRIBE.values()) for user in users}


@pytest.mark.parametrize(("user", "name"), [(SERVICE, "atp service"), (INTAKE, "atp webhooks"), (INTAKE, "atp files"), (ALL, "atp all")])
def test_events_of_any_source_are_taken_with_what_a_user_may(server: NatsServer, user: str, name: str) -> None:
    async def scenario() -> None:
        admin = await connect_once(nats_as(ADMIN, server), "atp")
        for stream in (streams.inventory(), streams.exceptions()):
            await admin.jetstream().add_stream(stream)
        client = await connect(nats_as(user, server), name)
        intake = JetStreamIntake(client)
        for number, source in enumerate(("wms", "erp"), 1):
            event = events.Heartbeat(specversion="1.0", id="e", source=source, time=datetime.now(UTC), data=events.HeartbeatData())
            assert await intake.take(POOL, event) == Taken(number)
        if user == INTAKE:
            verdict = ContentError(ExceptionReason.MALFORMED, "it is nothing.")
            await exceptions.publish(client.jetstream(), exception_of("x", f"inv.{POOL}.wms.receipt", b"", verdict), "x")
        await client.close()
        await admin.close()

    asyncio.run(scenario())


def test_a_source_cannot_lead_its_acks_into_a_ledger(server: NatsServer) -> None:
    """JetStream answers an event where its sender says: an answer in a ledger would stop the pool."""

    async def scenario() -> None:
        admin = await connect_once(nats_as(ADMIN, server), "atp")
        source = await connect_once(nats_as(WMS, server), WMS)
        try:
            js = admin.jetstream()
            for stream in (streams.inventory(), streams.ledger(POOL)):
                await js.add_stream(stream)
            await source.publish(f"inv.{POOL}.wms.receipt", b"{}", reply=streams.ledger_subject(POOL))
            await source.jetstream().publish(f"inv.{POOL}.wms.receipt", b"{}")  # acked behind the first
            assert (await js.stream_info(streams.INVENTORY)).state.messages == 2
            assert (await js.stream_info(streams.ledger_stream(POOL))).state.messages == 0
        finally:
            await source.close()
            await admin.close()

    asyncio.run(scenario())


def test_a_ledger_is_copied_out_and_back_by_the_user_for_backups(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the command of NATS does it: the pieces come to an inbox, and go back one by one."""

    async def scenario() -> None:
        admin = await connect_once(nats_as(ADMIN, server), "atp")
        await admin.jetstream().add_stream(streams.ledger(POOL))
        await admin.jetstream().publish(streams.ledger_subject(POOL), b"entries")
        await admin.close()
        source = await backup_of(server)
        where = source.new_inbox()
        arriving = await source.subscribe(where)
        answer = await source.request(f"$JS.API.STREAM.SNAPSHOT.LEDGER-{POOL}", msgspec.json.encode({"deliver_subject": where}))
        description = msgspec.json.decode(answer.data)
        pieces = []
        while (piece := await arriving.next_msg()).data:
            pieces.append(piece.data)
            if piece.reply:
                await piece.respond(b"")
        await source.close()
        with secured_nats(tmp_path / "other", monkeypatch) as other:
            target = await backup_of(other)
            wanted = {"config": description["config"], "state": description["state"]}
            answer = await target.request(f"$JS.API.STREAM.RESTORE.LEDGER-{POOL}", msgspec.json.encode(wanted))
            subject = msgspec.json.decode(answer.data)["deliver_subject"]
            for data in [*pieces, b""]:
                restored = await target.request(subject, data)
            assert msgspec.json.decode(restored.data)["state"]["messages"] == 1
            await target.close()

    asyncio.run(scenario())


async def backup_of(server: NatsServer) -> Client:
    return await connect_once(nats_as(BACKUP, server), BACKUP)


def test_what_a_reader_has_delivered_into_a_ledger_is_not_read_as_its_entries(server: NatsServer) -> None:
    """Who may read a stream says where it is delivered to, and what is published as an exception can have any content."""

    async def scenario() -> None:
        admin = await connect_once(nats_as(ADMIN, server), "atp")
        auditor = await connect_once(nats_as(AUDITOR, server), "atp auditor")
        try:
            js = admin.jetstream()
            for stream in (streams.exceptions(), streams.ledger(POOL)):
                await js.add_stream(stream)
            as_entry = {ledger_writer.FIRST: "1", ledger_writer.LAST: "1", ledger_writer.EPOCH: "1"}
            await auditor.jetstream().publish(f"exc.{POOL}.x", ledger_writer.encode_batch([b"forged"]), headers=as_entry)
            config = {"deliver_subject": streams.ledger_subject(POOL), "deliver_policy": "all", "ack_policy": "none"}
            wish = json.dumps({"stream_name": streams.EXCEPTIONS, "config": config})
            await auditor.request(f"$JS.API.CONSUMER.CREATE.{streams.EXCEPTIONS}", wish.encode())

            async def is_there() -> bool:
                return (await js.stream_info(streams.ledger_stream(POOL))).state.messages == 1

            await until(is_there, "it is in the stream")
            with pytest.raises(LedgerGapError, match="which no relay has put there"):
                _ = [entries async for entries in read_ledger(js, POOL)]
        finally:
            await auditor.close()
            await admin.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("user", [*nats_users(), "nobody"])
def test_nobody_comes_in_without_the_password(server: NatsServer, user: str) -> None:
    for settings in (NatsSettings(server.url), NatsSettings(server.url, username=user, password=password("another"))):
        with pytest.raises(NatsRefusedError, match="Authorization Violation"):
            asyncio.run(connect_once(settings, "test"))


def test_the_file_is_one_that_nats_takes(server: NatsServer) -> None:
    """With the passwords in its environment, as `server` has put them there."""
    checked = subprocess.run([nats_binary(), "-t", "-c", NATS_CONF], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
