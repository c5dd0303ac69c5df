"""Answers about the KPIs that Redis remembers, named by the revisions of what was read: a stale one is never found."""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chillflow import __version__

REMEMBERED = dt.timedelta(days=1)
TIMEOUT = 1.0
COUNTS = "chillflow:kpi-reads"
"""A hash in Redis: how many questions were `asked` by anybody, and how many `remembered`."""


@dataclass(frozen=True)
class ReadCounts:
    """Questions so far, anybody's, and how many of them Redis had the answer to."""

    asked: int
    remembered: int


class Answers:
    """Without an address, or while Redis does not answer, nothing is remembered. For use by any thread."""

    def __init__(self, redis_url: str | None) -> None:
        self._redis: redis.Redis | None = None
        if redis_url is not None:
            self._redis = redis.Redis.from_url(
                redis_url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
            )

    def close(self) -> None:
        if self._redis is not None:
            self._redis.close()

    def recall(self, key: str) -> bytes | None:
        if self._redis is not None:
            with suppress(redis.RedisError):
                stored = self._redis.get(key)
                with self._redis.pipeline() as counts:
                    counts.hincrby(COUNTS, "asked", 1)
                    counts.hincrby(COUNTS, "remembered", int(stored is not None))
                    counts.execute()
                return stored if isinstance(stored, bytes) else None
        return None

    def counts(self) -> ReadCounts | None:
        """None where Redis does not tell, or was not asked yet."""
        if self._redis is not None:
            with suppress(redis.RedisError, ValueError):
                asked, remembered = self._redis.hmget(COUNTS, "asked", "remembered")
                return ReadCounts(int(asked), int(remembered)) if asked and remembered else None
        return None

    def hit_rate(self) -> float | None:
        """The share of all questions that Redis had an answer to; None where it does not tell."""
        counts = self.counts()
        return counts.remembered / counts.asked if counts and counts.asked else None

    def remember(self, key: str, answer: bytes) -> None:
        if self._redis is not None:
            with suppress(redis.RedisError):
                self._redis.set(key, answer, ex=REMEMBERED)


def key_of(revisions: Iterable[Mapping[str, Any]], *question: Any) -> str:
    """The name of an answer: of what was asked, and in which state of the database (rows of kpi_revisions)."""
    state = [(row["service"], str(row["slice"]), row["revision"]) for row in revisions]
    return "chillflow:kpis:" + hashlib.sha256(msgspec.json.encode([__version__, question, state])).hexdigest()
