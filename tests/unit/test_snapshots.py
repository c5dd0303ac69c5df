"""A snapshot is taken only by the claim that replaced its maker, whole, and as of an offset that makes sense."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chillflow.positions import Claim, Position, Topic
from chillflow.stores.snapshots import open_for, seal

MAKER = Claim(Topic("trip-events", "id-1", 12), "chillflow", 3, 7, "token-7", "token-6", Position(3, 200, 100))
HEIR = replace(MAKER, epoch=8, token="token-8", replaced="token-7")
PAYLOAD = b"open trips" * 50


def test_the_claim_that_replaced_the_maker_goes_on_from_it():
    assert open_for(HEIR, seal(MAKER, 150, PAYLOAD)) == (150, PAYLOAD)


@pytest.mark.parametrize(
    "claim",
    [
        MAKER,
        replace(HEIR, replaced="token-5"),
        replace(HEIR, replaced=None),
        replace(HEIR, topic=Topic("trip-events", "id-2", 12)),
        replace(HEIR, position=Position(3, 149, 100)),
        replace(HEIR, position=Position(3, 200, 151)),
    ],
    ids=["its maker", "a later claim", "the first claim", "another topic", "ahead of PostgreSQL", "too old"],
)
def test_nobody_else_does(claim):
    assert open_for(claim, seal(MAKER, 150, PAYLOAD)) is None


@given(st.data())
def test_a_damaged_one_is_none(data):
    sealed = seal(MAKER, 150, PAYLOAD)
    at = data.draw(st.integers(0, len(sealed) - 1))
    damaged = sealed[:at] + bytes([sealed[at] ^ data.draw(st.integers(1, 255))]) + sealed[at + 1 :]
    assert open_for(HEIR, damaged) is None


@given(st.binary(max_size=200))
def test_anything_else_is_none(stored):
    assert open_for(HEIR, stored) is None


def test_nothing_is_none():
    assert open_for(HEIR, None) is None
