"""The HTTP endpoint of a process: `/metrics`, `/ready` and `/live`, in a thread of its own, so that a stuck event loop can be told."""

import contextlib
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from cli.exit_codes import USAGE, CommandError
from service.listen import split

CONNECTIONS_MAX: Final = 16  # at once; one more is closed unread
REQUEST_S: Final = 5.0  # a connection that says nothing for so long is closed
METRICS_AGE_S: Final = 1.0  # how old the text of a scrape may be: making it costs milliseconds that calls wait for
_STOP_POLL_S: Final = 0.2  # how late the thread may notice that it should end
_TEXT: Final = "text/plain; charset=utf-8"
_log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """One page as it is now."""

    status: HTTPStatus
    body: bytes
    content_type: str = _TEXT


Page = Callable[[], Answer]


def metrics_page(registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> Page:
    """The metrics in Prometheus' text format, made at most once in METRICS_AGE_S however many ask."""
    lock = threading.Lock()
    made_at, text = -METRICS_AGE_S, b""

    def page() -> Answer:
        nonlocal made_at, text
        with lock:
            if clock() - made_at >= METRICS_AGE_S:
                text = generate_latest(registry)
                made_at = clock()
            return Answer(HTTPStatus.OK, text, CONTENT_TYPE_LATEST)

    return page


def condition_page(why_not: Callable[[], str]) -> Page:
    """200 while there is nothing against it; else 503 and the sentence."""

    def page() -> Answer:
        reason = why_not()
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"no: {reason}\n".encode()) if reason else Answer(HTTPStatus.OK, b"yes\n")

    return page


@contextlib.contextmanager
def serving(listen: str, pages: Mapping[str, Page]) -> Iterator[str]:
    """Serves the pages while the block runs, at the address it is given. Raises CommandError if it cannot listen there."""
    host, port = split(listen)
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        server = _Server(found[0], pages)
    except OSError as error:
        raise CommandError(
            f"metrics.listen: cannot listen on {listen}: {error.strerror}; every process needs an address of its own", USAGE
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(_STOP_POLL_S,), name="metrics", daemon=True)
    thread.start()
    try:
        yield f"{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, found: tuple[Any, ...], pages: Mapping[str, Page]) -> None:
        self.address_family = found[0]
        self.pages = pages
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(found[4][:2], _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own asks the DNS for our name, which nobody uses

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a request from %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout: ClassVar[float] = REQUEST_S
    server_version = "atp"
    sys_version = ""

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        there = ", ".join(self.server.pages)
        answer = page() if page else Answer(HTTPStatus.NOT_FOUND, f"there are {there}\n".encode())
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815 (http.server's name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (http.server's name)
        """Scrapes and probes are no news."""
