"""The contract of Checkpoints, over the double and the embedded Valkey."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import pytest
import redis

from chillflow.positions import Claim, Position, Topic
from chillflow.stores import protocols
from chillflow.stores.checkpoints import RedisCheckpoints
from chillflow.testing.checkpoints import MemoryCheckpoints
from tests.fix_brokers import Embedded

PAYLOAD = b"open trips " * 1000


class Store(Protocol):
    """Checkpoints, and what becomes of those that are stored."""

    def opened(self) -> protocols.Checkpoints: ...

    def stored(self) -> dict[bytes, bytes]: ...

    def put(self, stored: dict[bytes, bytes]) -> None: ...

    def away(self) -> protocols.Checkpoints: ...


@dataclass
class InMemory:
    checkpoints: MemoryCheckpoints

    def opened(self) -> MemoryCheckpoints:
        return self.checkpoints

    def stored(self) -> dict[bytes, bytes]:
        return {repr(key).encode(): value for key, value in self.checkpoints.saved.items()}

    def put(self, stored: dict[bytes, bytes]) -> None:
        keys = {repr(key).encode(): key for key in self.checkpoints.saved}
        self.checkpoints.saved = {keys[key]: value for key, value in stored.items()}

    def away(self) -> MemoryCheckpoints:
        self.checkpoints.away = True
        return self.checkpoints


@dataclass
class InRedis:
    url: str
    group: str

    def opened(self) -> RedisCheckpoints:
        return RedisCheckpoints(self.url)

    def stored(self) -> dict[bytes, bytes]:
        with redis.Redis.from_url(self.url) as client:
            return {key: client.get(key) for key in client.keys(f"*{self.group}*")}

    def put(self, stored: dict[bytes, bytes]) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.delete(*client.keys(f"*{self.group}*"))
            for key, value in stored.items():
                client.set(key, value)

    def away(self) -> RedisCheckpoints:
        return RedisCheckpoints("redis://127.0.0.1:9/0")


@pytest.fixture
def claim() -> Claim:
    topic = Topic("trip-events", "id-1", 2)
    return Claim(topic, f"group-{uuid.uuid4().hex}", 1, 7, "token-7", "token-6", Position(1, 120, 100))


@pytest.fixture(params=["in memory", "embedded"])
def store(request: pytest.FixtureRequest, claim: Claim) -> Iterator[Store]:
    if request.param == "in memory":
        yield InMemory(MemoryCheckpoints())
        return
    embedded: Embedded = request.getfixturevalue("embedded_brokers")
    yield InRedis(embedded.redis, claim.group)


def successor(claim: Claim, next_offset: int = 140, rewind_offset: int = 110) -> Claim:
    """The claim that replaces it."""
    position = Position(claim.partition, next_offset, rewind_offset)
    return replace(claim, epoch=claim.epoch + 1, token="token-8", replaced=claim.token, position=position)


def test_what_was_saved_is_loaded_by_the_claim_that_replaces(store: Store, claim: Claim) -> None:
    checkpoints = store.opened()
    assert checkpoints.load(successor(claim)) is None
    assert checkpoints.save(claim, 130, PAYLOAD)
    assert store.opened().load(successor(claim)) == (130, PAYLOAD)


def test_the_newest_counts(store: Store, claim: Claim) -> None:
    checkpoints = store.opened()
    checkpoints.save(claim, 120, b"older")
    checkpoints.save(claim, 125, b"newer")
    assert checkpoints.load(successor(claim)) == (125, b"newer")


def test_partitions_groups_and_topics_do_not_mix(store: Store, claim: Claim) -> None:
    checkpoints = store.opened()
    checkpoints.save(claim, 130, PAYLOAD)
    position = replace(claim.position, partition=0)
    for other in (
        replace(claim, partition=0, position=position),
        replace(claim, group="another"),
        replace(claim, topic=replace(claim.topic, name="another")),
    ):
        assert checkpoints.load(successor(other)) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"replaced": "token-5"},
        {"replaced": None},
        {"topic": Topic("trip-events", "id-2", 2)},
        {"position": Position(1, 129, 110)},
        {"position": Position(1, 140, 131)},
    ],
    ids=["a later claim's", "before the first claim", "another topic id", "beyond next_offset", "before rewind_offset"],
)
def test_a_snapshot_that_is_not_this_claims_reads_as_none(store: Store, claim: Claim, changed: dict) -> None:
    checkpoints = store.opened()
    checkpoints.save(claim, 130, PAYLOAD)
    assert checkpoints.load(replace(successor(claim), **changed)) is None


@pytest.mark.parametrize("at", [130, 110, 140])
def test_the_bounds_of_what_is_taken(store: Store, claim: Claim, at: int) -> None:
    checkpoints = store.opened()
    checkpoints.save(claim, at, PAYLOAD)
    assert checkpoints.load(successor(claim)) == (at, PAYLOAD)


def test_whatever_byte_is_damaged_it_reads_as_none(store: Store, claim: Claim) -> None:
    checkpoints = store.opened()
    checkpoints.save(claim, 130, PAYLOAD)
    [(key, whole)] = store.stored().items()
    for at in range(len(whole)):
        store.put({key: whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :]})
        assert checkpoints.load(successor(claim)) is None
    for length in (0, 3, 4, len(whole) - 1):
        store.put({key: whole[:length]})
        assert checkpoints.load(successor(claim)) is None
    store.put({key: whole})
    assert checkpoints.load(successor(claim)) == (130, PAYLOAD)


def test_a_store_that_is_away_takes_nothing_and_finds_nothing(store: Store, claim: Claim) -> None:
    checkpoints = store.away()
    assert not checkpoints.save(claim, 130, PAYLOAD)
    assert checkpoints.load(successor(claim)) is None


def test_that_redis_is_away_is_said_once_and_that_it_is_back(claim: Claim, embedded_brokers: Embedded) -> None:
    said: list[str] = []
    checkpoints = RedisCheckpoints("redis://127.0.0.1:9/0", said.append)
    for _ in range(3):
        checkpoints.save(claim, 130, PAYLOAD)
    assert len(said) == 1
    assert "going on without" in said[0]
    checkpoints._redis.close()
    checkpoints._redis = redis.Redis.from_url(embedded_brokers.redis)
    checkpoints.save(claim, 130, PAYLOAD)
    checkpoints.load(claim)
    assert said[1:] == ["Redis takes snapshots again"]


def test_a_value_of_another_kind_reads_as_none(claim: Claim, embedded_brokers: Embedded) -> None:
    checkpoints = RedisCheckpoints(embedded_brokers.redis)
    checkpoints.save(claim, 130, PAYLOAD)
    with redis.Redis.from_url(embedded_brokers.redis) as client:
        [key] = client.keys(f"*{claim.group}*")
        client.delete(key)
        client.lpush(key, b"not a snapshot")
    assert checkpoints.load(successor(claim)) is None
