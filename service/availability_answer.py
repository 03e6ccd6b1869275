"""The answer of BatchGetAvailability as bytes, spliced from pieces that are encoded once and kept.

Messages on the wire are a plain concatenation of their fields, and partial messages add up to one. A full page is 150 messages: building
them costs more than reading the stock, splicing them less than half as much.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from atp.model.stock import ItemRecord, available_to_promise
from atp.model.views import AvailabilityLine
from inventory.availability.v1 import availability_service_pb2 as pb
from service.values import ITEM_STATE, timestamp

_PIECES_MAX: Final = 1 << 16  # kept of each kind: some 10 MB when full


def encode(lines: Iterable[tuple[AvailabilityLine, int]], time_ms: int) -> bytes:
    """A BatchGetAvailabilityResponse of lines as read, each with the units wanted of it."""
    pieces = [pb.BatchGetAvailabilityResponse(read_time=timestamp(time_ms)).SerializeToString()]
    pieces += [_framed(_LINES, _known(line, line.item, wanted) if line.item else _unknown(line)) for line, wanted in lines]
    return b"".join(pieces)


def _known(line: AvailabilityLine, item: ItemRecord, wanted: int) -> bytes:
    pieces = [_sku(line.sku, item.state), _revision(line.revision)]
    available_in_all = 0
    for node, row in line.rows:
        shut = node in line.shut
        available = available_to_promise(row, item, shut=shut)
        available_in_all += available
        pieces.append(_node(node, available, shut))
    pieces.append(_available(available_in_all, available_in_all >= wanted))
    return b"".join(pieces)


def _unknown(line: AvailabilityLine) -> bytes:
    # Not kept: what a caller takes for a SKU may be long, and there is no end of them.
    return pb.AvailabilityLine(sku=line.sku, status=pb.SKU_STATUS_UNKNOWN_SKU, revision=line.revision).SerializeToString()


@lru_cache(_PIECES_MAX)
def _sku(sku: str, state: int) -> bytes:
    return pb.AvailabilityLine(sku=sku, status=pb.SKU_STATUS_KNOWN, state=ITEM_STATE[state]).SerializeToString()


@lru_cache(_PIECES_MAX)
def _available(available: int, fulfillable: bool) -> bytes:
    return pb.AvailabilityLine(available=available, fulfillable=fulfillable).SerializeToString()


@lru_cache(_PIECES_MAX)
def _node(node: str, available: int, shut: bool) -> bytes:
    return _framed(_NODES, pb.NodeAvailability(node=node, available=available, shut=shut).SerializeToString())


@lru_cache(maxsize=64)
def _revision(revision: int) -> bytes:
    return pb.AvailabilityLine(revision=revision).SerializeToString()


def _tag(field_number: int) -> bytes:
    """The byte before each entry of a repeated message field, for numbers up to 15."""
    return bytes([field_number << 3 | 2])


_LINES: Final = _tag(pb.BatchGetAvailabilityResponse.LINES_FIELD_NUMBER)
_NODES: Final = _tag(pb.AvailabilityLine.NODES_FIELD_NUMBER)


def _framed(tag: bytes, body: bytes) -> bytes:
    """One entry of a repeated message field: tag, length in seven bits a byte, body."""
    length = len(body)
    if length < 128:
        return b"%b%c%b" % (tag, length, body)
    head = bytearray(tag)
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return bytes(head) + body
