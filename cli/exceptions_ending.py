"""`atp exceptions retry` and `discard`: one exception, or all open ones of a reason once their number has been seen."""

import asyncio
import contextlib
import getpass
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import msgspec
import typer
from nats.js import JetStreamContext

from atp import limits
from atp.errors import RefusedError
from atp.exceptions import PublishedException
from atp.model.status import ExceptionReason
from atp.model.verbs import ENGINE_ACTORS
from atp.requests import is_id
from atp.store import Store, StoreSettings
from atp.words import counted
from cli import config, exit_codes, history, output
from cli.exit_codes import CommandError
from consumers import ending, exceptions
from consumers.connection import NatsSettings
from consumers.ending import NotEndedError, Who
from consumers.exceptions import LIST_MAX, Standing

_DONE: Final = {"retried": "sent again", "discarded": "discarded"}


class Chosen(NamedTuple):
    """Which exceptions: one by its id, or all open ones of a reason; and how it is told."""

    pool: str
    exception_id: str
    where: str
    yes: bool
    json: bool


class Told(msgspec.Struct, frozen=True):
    """What became of one exception: whether it is over, and in words."""

    id: str
    done: bool
    said: str


def retry(chosen: Chosen, actor: str, why: str, nats_url: str | None) -> None:
    who = _who(actor, why)
    nats = config.nats(config.load(nats_url=nats_url))

    async def work() -> None:
        async with history.jetstream(nats) as js:
            found = await _find(js, chosen, "retry")
            await _each(chosen, found, "retried", lambda one: ending.retry(js, one, who))

    asyncio.run(work())


def discard(chosen: Chosen, actor: str, why: str, nats_url: str | None, store_url: str | None) -> None:
    who = _who(actor, why)
    settings = config.load(store_url=store_url, nats_url=nats_url)
    asyncio.run(_discard(chosen, who, config.nats(settings), config.store_of(settings, chosen.pool)))


async def _discard(chosen: Chosen, who: Who, nats: NatsSettings, where: StoreSettings) -> None:
    async with contextlib.AsyncExitStack() as exits:
        js = await exits.enter_async_context(history.jetstream(nats))
        found = await _find(js, chosen, "discard")
        store: Store | None = None
        if any(ending.is_parked(one.exception) for one in found):
            store = await exits.enter_async_context(history.connected(where))
        await _each(chosen, found, "discarded", lambda one: ending.discard(js, store, one, who))


def person(actor: str) -> str:
    """Who does this, by default the user of this machine. Raises CommandError for a name that cannot be kept."""
    try:
        name = actor or getpass.getuser()
    except (OSError, KeyError) as error:
        raise CommandError("this machine does not know who you are: say --actor", exit_codes.USAGE) from error
    if not is_id(name) or name in ENGINE_ACTORS:
        rule = f"must be 1 to {limits.ID_CHARS_MAX} printable characters without spaces, and none of {', '.join(sorted(ENGINE_ACTORS))}"
        raise CommandError(f"--actor {rule}: {name!r}", exit_codes.USAGE)
    return name


def _who(actor: str, why: str) -> Who:
    """Raises CommandError for a name or a reason that cannot be kept."""
    name = person(actor)
    if not 1 <= len(why.strip()) <= limits.TEXT_CHARS_MAX:
        raise CommandError(f"--reason must have 1 to {limits.TEXT_CHARS_MAX} characters, has {len(why.strip())}", exit_codes.USAGE)
    return Who(name, why.strip())


async def _find(js: JetStreamContext, chosen: Chosen, verb: str) -> list[Standing]:
    """The exceptions meant, the oldest first. Raises CommandError if there is none, and typer.Abort if the answer is no."""
    if bool(chosen.exception_id) == bool(chosen.where):
        raise CommandError("say which exception by its ID, or --where REASON for all open ones of a reason", exit_codes.USAGE)
    if chosen.where and chosen.where not in ExceptionReason.__members__:
        raise CommandError(f"there is no reason {chosen.where}; there are {', '.join(ExceptionReason)}", exit_codes.USAGE)
    with history.known_pool(chosen.pool):
        if chosen.exception_id:
            one = await exceptions.standing(js, chosen.pool, chosen.exception_id)
            found = [one] if one else []
        else:
            found = await exceptions.list_standing(js, pool=chosen.pool, state="open", reason=chosen.where)
    if not found:
        which = chosen.exception_id or f"{chosen.where} that is open"
        raise CommandError(f"pool {chosen.pool} has no exception {which}: atp exceptions list shows which there are", exit_codes.REFUSED)
    if chosen.where and not chosen.yes:
        which = "the newest " if len(found) == LIST_MAX else ""
        question = f"{which}{counted(len(found), 'open exception')} {chosen.where} in pool {chosen.pool}: {verb} all?"
        await asyncio.to_thread(typer.confirm, question, abort=True, err=True)  # the connection stays alive meanwhile
    return found[::-1]


async def _each(chosen: Chosen, found: list[Standing], resolution: str, end: Callable[[Standing], Awaitable[PublishedException]]) -> None:
    """Ends each, and says what became of it. Exit 1 if one is still open."""
    told = [await _end(one, resolution, end) for one in found]
    if chosen.json:
        output.print_json(told)
    else:
        out = output.console()
        for one in told:
            out.print(f"{one.id}: {one.said}", style="green" if one.done else "yellow")
        if resolution == "retried" and any(one.done for one in told):
            out.print("What fails again is open anew: atp exceptions list", style="dim")
    if not all(one.done for one in told):
        raise typer.Exit(exit_codes.REFUSED)


async def _end(one: Standing, resolution: str, end: Callable[[Standing], Awaitable[PublishedException]]) -> Told:
    word = _DONE[resolution]
    try:
        stands = await end(one)
    except (NotEndedError, RefusedError) as error:
        return Told(one.exception.id, done=False, said=f"not {word}: {error}")
    if stands.resolution != resolution:
        return Told(one.exception.id, done=False, said=f"open anew meanwhile: {stands.sentence}")
    return Told(one.exception.id, done=True, said=word)
