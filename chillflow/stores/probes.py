"""What `chillflow doctor` asks of the services: whether they answer, what they are, and what time it is there."""

import secrets
from dataclasses import dataclass
from typing import Any

import redis
from confluent_kafka import KafkaException

from chillflow.errors import LakeUnavailable, ServiceDown
from chillflow.stores import eventlog, migrations
from chillflow.stores.folders import Folder
from chillflow.stores.postgres import address, connect, translated
from chillflow.stores.queries import query


@dataclass(frozen=True)
class Server:
    """A server that answers: what it is, and its clock in seconds since 1970, where it tells."""

    version: str
    clock: float | None = None


@dataclass(frozen=True)
class Database(Server):
    number: int = 0
    standby: bool = False
    may_create: bool = True
    user: str = ""


def examine_postgres(dsn: str) -> Database:
    """Raises BadDsn, ServiceDown and WarehouseRefused."""
    place = address(dsn)
    with connect(dsn, patience=0, autocommit=True) as connection, translated(connection, place):
        found: dict[str, Any] = connection.execute(query("examine")).fetchone() or {}
    return Database(**found)


def examine_schema(dsn: str) -> None:
    """Raises WarehouseEmpty, SchemaTooOld and SchemaTooNew."""
    migrations.connected(dsn, address(dsn)).close()


def examine_redis(url: str, shown: str) -> Server:
    """Raises ServiceDown."""
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            seconds, micros = client.time()
            info: Any = client.info("server")
    except (redis.RedisError, ValueError) as error:
        raise ServiceDown("Redis", shown, str(error)) from error
    name = "Valkey" if "valkey_version" in info else "Redis"
    return Server(f"{name} {info.get('valkey_version', info['redis_version'])}", seconds + micros / 1e6)


def examine_kafka(config: eventlog.Config) -> Server:
    """Raises ServiceDown."""
    try:
        brokers = eventlog.admin_client(config).list_topics(timeout=eventlog.PATIENCE).brokers
    except KafkaException as error:
        raise eventlog.down(config, error.args[0].str()) from error
    return Server(f"{len(brokers)} broker" + ("s" if len(brokers) != 1 else ""))


def examine_lake(uri: str) -> str:
    """Writes a file, reads it, deletes it; returns where. Raises LakeUnavailable."""
    folder, name, said = Folder(uri), f".doctor-{secrets.token_hex(4)}", secrets.token_bytes(16)
    folder.write(name, said)
    try:
        if folder.read(name) != said:
            raise LakeUnavailable(folder.shown(), "what was written there is not what is read", "choose another place")
    finally:
        folder.remove(name)
    return folder.shown()
