"""Canonical events: what they say, what is wrong with them, and the verb that applies each."""

from atp.canonical.reading import (
    ContentError,
    Feed,
    check,
    correlation_of,
    decode,
    encode,
    lines_of,
    pool_of_subject,
    read,
    subject_of,
    violations_of,
)
from atp.canonical.verbs import NO_ITEMS, Items, Request, aliases_of, context_of, packed_lines, request_of

__all__ = [
    "NO_ITEMS",
    "ContentError",
    "Feed",
    "Items",
    "Request",
    "aliases_of",
    "check",
    "context_of",
    "correlation_of",
    "decode",
    "encode",
    "lines_of",
    "packed_lines",
    "pool_of_subject",
    "read",
    "request_of",
    "subject_of",
    "violations_of",
]
