"""Ids that the service makes: reservations, correlations, page tokens."""

import time
import uuid

import pytest

from atp.requests import uuid7_time_ms
from service import page_token
from service.call import new_correlation
from service.uuid7 import uuid7


def test_an_id_is_a_uuid_of_version_7_and_of_now() -> None:
    before = time.time_ns() // 1_000_000
    text = uuid7()
    made = uuid.UUID(text)
    assert (made.version, made.variant, str(made)) == (7, uuid.RFC_4122, text)
    assert before <= uuid7_time_ms(text) <= time.time_ns() // 1_000_000


def test_ids_differ_and_use_all_their_random_bits() -> None:
    ids = [uuid.UUID(uuid7()).int for _ in range(2_000)]
    assert len(set(ids)) == len(ids)
    ever_set = never_clear = ids[0]
    for one in ids:
        ever_set |= one
        never_clear &= one
    random_bits = (1 << 62) - 1 | 0xFFF << 64
    assert ever_set & random_bits == random_bits
    assert never_clear & random_bits == 0


def test_correlations_differ() -> None:
    assert len({new_correlation() for _ in range(100)}) == 100


def test_a_page_token_comes_back_as_it_went() -> None:
    for position in (0, 1, 10**18):
        assert page_token.decode(page_token.encode(position, ("de", "o1")), ("de", "o1")) == position


@pytest.mark.parametrize("token", ["next", "💥", "=", "MTIz", page_token.encode(7, ("nl", "o1")), page_token.encode(7, ("de", "o1"))[:-2]])
def test_a_token_that_was_not_made_for_this_request_is_none(token: str) -> None:
    assert page_token.decode(token, ("de", "o1")) is None
