"""Snapshots in Redis: a shortcut, never the truth. Nothing that Redis does raises, or is waited for for long."""

from collections.abc import Callable

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chillflow.positions import Claim
from chillflow.stores.snapshots import open_for, seal

TIMEOUT = 2.0


class RedisCheckpoints:
    """See protocols.Checkpoints. `say` hears once when Redis stops taking snapshots, and once when it does again."""

    def __init__(self, url: str, say: Callable[[str], None] = lambda text: None) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 1)
        )
        self._say = say
        self._well = True

    def save(self, claim: Claim, offset: int, payload: bytes) -> bool:
        try:
            self._redis.set(_key(claim), seal(claim, offset, payload))
        except redis.RedisError as error:
            self._tell(well=False, why=str(error))
            return False
        self._tell(well=True)
        return True

    def load(self, claim: Claim) -> tuple[int, bytes] | None:
        try:
            stored = self._redis.get(_key(claim))
        except redis.RedisError as error:
            self._tell(well=False, why=str(error))
            return None
        self._tell(well=True)
        return open_for(claim, stored if isinstance(stored, bytes) else None)

    def close(self) -> None:
        self._redis.close()

    def _tell(self, *, well: bool, why: str = "") -> None:
        if well != self._well:
            self._well = well
            self._say("Redis takes snapshots again" if well else f"Redis takes no snapshots ({why}); going on without")


def _key(claim: Claim) -> str:
    return f"chillflow:{claim.group}:{claim.topic.name}:{claim.partition}"
