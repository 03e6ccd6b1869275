"""Unary gRPC calls over bare HTTP/2, flat out or at a constant rate: latencies without the cost of a client library in them.

One thread on plain sockets: an event loop's timers wake up to a millisecond late, which is as long as a call takes.
"""

import itertools
import math
import select
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Self

_CONNECTIONS: Final = 8
_IN_FLIGHT_MAX: Final = 128  # flat out; at a constant rate calls are sent when they are due, however many are under way
_QUIET_S: Final = 10.0  # without any answer: the server is stuck

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE: Final = 4
_WINDOW, _WINDOW_MAX = 65_535, 2**31 - 1
_HEAD_BYTES: Final = 9
_FRAME_MAX: Final = 16_384


class LoadError(RuntimeError):
    """A call failed or was answered otherwise than all must be: figures of such a run say nothing."""


class Target(NamedTuple):
    """What is called: every answer must begin with `good`, which is its outcome."""

    address: str
    method: str
    good: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One HTTP/2 frame."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def header_block(address: str, method: str) -> bytes:
    """The headers of a gRPC request in HPACK, nothing indexed: the same bytes for every call."""

    def text(word: str) -> bytes:
        assert len(word) < 127, "a longer one has more than one byte of length"
        return bytes((len(word),)) + word.encode()

    post_over_http = b"\x83\x86"
    names = b"\x04" + text(method) + b"\x01" + text(address) + b"\x0f\x10" + text("application/grpc")
    return post_over_http + names + b"\x00" + text("te") + text("trailers")


class _Connection:
    """One connection; `ended` gives the calls that were answered in full, by stream, with the body of their answer."""

    def __init__(self, target: Target) -> None:
        host, _, port = target.address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due: dict[int, float] = {}
        self._headers = header_block(target.address, target.method)
        self._stream = -1
        self._answers: dict[int, bytes] = {}
        self._buffer = b""
        settings = _INITIAL_WINDOW_SIZE.to_bytes(2) + _WINDOW_MAX.to_bytes(4)
        window = (_WINDOW_MAX - _WINDOW).to_bytes(4)  # so that answers never need another
        self.socket.sendall(_PREFACE + frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW_UPDATE, 0, 0, window))

    def send(self, message: bytes, due: float) -> None:
        """One call, which should have been sent at `due`."""
        self._stream += 2
        self.due[self._stream] = due
        body = b"\0" + len(message).to_bytes(4) + message
        assert len(body) <= _FRAME_MAX, "one frame a message is all that is needed here"
        self.socket.sendall(frame(_HEADERS, _END_HEADERS, self._stream, self._headers) + frame(_DATA, _END_STREAM, self._stream, body))

    def ended(self) -> Iterator[tuple[float, bytes]]:
        """When each was due, and its answer. Raises LoadError if the server ends a call or the connection."""
        received = self.socket.recv(262_144)
        if not received:
            raise LoadError("the server closed the connection")
        self._buffer += received
        at = 0
        while len(self._buffer) - at >= _HEAD_BYTES:
            end = at + _HEAD_BYTES + int.from_bytes(self._buffer[at : at + 3])
            if end > len(self._buffer):
                break
            kind, flags = self._buffer[at + 3], self._buffer[at + 4]
            stream = int.from_bytes(self._buffer[at + 5 : at + _HEAD_BYTES])
            self._take(kind, flags, stream, self._buffer[at + _HEAD_BYTES : end])
            if kind == _HEADERS and flags & _END_STREAM:
                yield self.due.pop(stream), self._answers.pop(stream, b"")
            at = end
        self._buffer = self._buffer[at:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._answers[stream] = self._answers.get(stream, b"") + payload
        elif kind in {_SETTINGS, _PING} and not flags & _ACK:
            self.socket.sendall(frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind in {_RESET, _GOAWAY}:
            raise LoadError(f"the server ended {'a call' if kind == _RESET else 'the connection'}: {payload!r}")


class Load:
    """A few connections to one method, as a context manager; `messages` are sent in turn, round and round."""

    def __init__(self, target: Target, messages: Sequence[bytes]) -> None:
        self._target = target
        self._messages = itertools.cycle(messages)
        self._connections = [_Connection(target) for _ in range(_CONNECTIONS)]
        self._turn = itertools.cycle(self._connections)
        self._by_socket = {connection.socket: connection for connection in self._connections}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.socket.close()

    def flat_out(self, calls: int) -> float:
        """Calls a second with as many under way as may be."""
        began = time.perf_counter()
        sent = answered = 0
        while answered < calls:
            while sent < calls and sent - answered < _IN_FLIGHT_MAX:
                self._send(began)
                sent += 1
            answered += len(self._answered(_QUIET_S))
        return calls / (time.perf_counter() - began)

    def at_rate(self, rate: float, calls: int) -> list[float]:
        """Seconds of each call from the moment it was due until its answer was read, so that no wait is left out; as they ended."""
        seconds: list[float] = []
        began = time.perf_counter()
        sent = 0
        while len(seconds) < calls:
            while sent < calls and (due := began + sent / rate) <= time.perf_counter():
                self._send(due)
                sent += 1
            wait = max(0.0, began + sent / rate - time.perf_counter()) if sent < calls else _QUIET_S
            seconds += self._answered(wait)
        return seconds

    def _send(self, due: float) -> None:
        next(self._turn).send(next(self._messages), due)

    def _answered(self, wait_s: float) -> list[float]:
        """Seconds since each call that has just been answered was due."""
        readable, _, _ = select.select(self._by_socket, (), (), wait_s)
        if not readable and wait_s == _QUIET_S:
            raise LoadError(f"no answer in {_QUIET_S:g} s")
        seconds = []
        for ready in readable:
            for due, answer in self._by_socket[ready].ended():
                if not answer[5:].startswith(self._target.good):  # behind the compression flag and the length
                    raise LoadError(f"{self._target.method} answered {answer!r}")
                seconds.append(time.perf_counter() - due)
        return seconds


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of all are not above."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
