"""The role `webhooks`: takes what other systems send over HTTP, signed, and says yes only once JetStream has all of it."""

import asyncio
import logging
from collections.abc import Mapping
from http import HTTPStatus
from io import BytesIO
from typing import Final

from atp.errors import IntakeUnavailableError
from atp.seldom import Seldom
from consumers.connection import Outage
from consumers.feeds import ADAPTERS, FeedSettings
from consumers.http_server import Request, Response, serving
from consumers.incoming import Incoming
from consumers.metrics import IncomingMetrics

log = logging.getLogger(__name__)

RETRY_S: Final = 5
#: What became of a message, by its answer.
_OUTCOMES: Final = {
    HTTPStatus.OK: "taken",
    HTTPStatus.BAD_REQUEST: "mistakes",
    HTTPStatus.UNAUTHORIZED: "unsigned",
    HTTPStatus.SERVICE_UNAVAILABLE: "away",
    HTTPStatus.INTERNAL_SERVER_ERROR: "fault",
}


class Webhooks:
    """Answers requests: `POST /<feed>`."""

    def __init__(self, feeds: Mapping[str, FeedSettings], incoming: Incoming, metrics: IncomingMetrics) -> None:
        self._feeds = feeds
        self._incoming = incoming
        self._metrics = metrics
        self._seldom = Seldom()
        self._never = asyncio.Event()  # what came whole is taken whole
        for feed in feeds:
            metrics.begin(feed)

    async def answer(self, request: Request) -> Response:
        feed = self._feeds.get(request.path.removeprefix("/"))
        if feed is None:
            return Response(HTTPStatus.NOT_FOUND, "there is no such feed")
        if request.method != "POST":
            return Response(HTTPStatus.METHOD_NOT_ALLOWED, "a message is sent with POST")
        response = await self._take(feed, request)
        self._metrics.message(feed.name, _OUTCOMES[response.status])
        return response

    async def _take(self, feed: FeedSettings, request: Request) -> Response:
        if not await asyncio.to_thread(ADAPTERS[feed.adapter].verify, request.headers, request.body, feed.secret):
            if self._seldom.may_say(f"{feed.name} {request.peer}"):
                log.warning("feed %s: a message from %s is not signed as it should be", feed.name, request.peer)
            return Response(HTTPStatus.UNAUTHORIZED, "the signature is missing, wrong or too old")
        try:
            tally = await self._incoming.take(feed, "a webhook", BytesIO(request.body), self._never)
        except IntakeUnavailableError as error:
            if self._seldom.may_say(str(error)):
                log.warning("feed %s: a message was not taken: %s", feed.name, error)
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, "it could not be taken: send it again", RETRY_S)
        assert tally is not None, "nobody has stopped it"
        self._metrics.events(feed.name, tally.taken)
        if tally.mistakes:
            status = HTTPStatus.INTERNAL_SERVER_ERROR if tally.is_our_fault else HTTPStatus.BAD_REQUEST
            return Response(status, "\n".join([f"{tally.mistakes} not read, {tally.taken} taken", *tally.told]))
        return Response(HTTPStatus.OK, f"{tally.taken} taken")


async def receive(host: str, port: int, webhooks: Webhooks, stop: asyncio.Event) -> None:
    """Until the stop. An address that is taken is waited for, as everything else is."""
    outage = Outage("the receiver of webhooks")
    while not stop.is_set():
        try:
            async with serving(host, port, webhooks.answer) as address:
                outage.over()
                log.info("webhooks on http://%s/<feed>", address)
                await stop.wait()
        except OSError as error:
            await outage.wait(error, stop)
