"""Snapshots that are old, damaged or half gone, and a Redis that is full, slow or gone: the rows stay the same."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from tests.fix_brokers import Embedded
from tests.recovery.crashing import Crashing, true_tables


@pytest.fixture
def store(embedded_brokers: Embedded) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(embedded_brokers.redis) as store:
        yield store
        store.config_set("maxmemory", "0")
        store.client_unpause()


@pytest.fixture
def stage(embedded_brokers: Embedded, postgres_dsn: str) -> Crashing:
    return Crashing.of(embedded_brokers, postgres_dsn)


def kept(store: "redis.Redis", stage: Crashing) -> dict[bytes, bytes]:
    """The snapshots of both partitions."""
    return {key: bytes(store.get(key) or b"") for key in store.keys(f"*{stage.topic}*")}  # type: ignore[union-attr]


def test_an_old_dump_changes_nothing(stage: Crashing, store: "redis.Redis") -> None:
    assert stage.assemble("4", times=2)
    old = kept(store, stage)
    assert len(old) == 2
    assert stage.assemble("4", times=4)
    assert kept(store, stage) != old
    store.mset(old)  # type: ignore[arg-type]
    assert not stage.assemble()
    assert stage.tables() == true_tables()


def test_one_snapshot_damaged_and_the_other_gone(stage: Crashing, store: "redis.Redis") -> None:
    assert stage.assemble("4", times=4)
    damaged, gone = kept(store, stage)
    value = bytearray(kept(store, stage)[damaged])
    value[len(value) // 2] ^= 1
    store.set(damaged, bytes(value))
    store.delete(gone)
    assert not stage.assemble()
    assert stage.tables() == true_tables()


def test_a_redis_that_is_full_slow_and_gone_holds_nothing_up(stage: Crashing, store: "redis.Redis") -> None:
    store.config_set("maxmemory", "1")
    assert stage.assemble("4", times=4)
    store.config_set("maxmemory", "0")
    store.client_pause(3_000)
    assert stage.assemble("4", times=4)
    assert not replace(stage, redis="redis://127.0.0.1:9").assemble()
    assert stage.tables() == true_tables()
