"""PostgreSQL, Valkey and Apache Kafka in containers of compose.yaml's images, one of each a session.

CHILLFLOW_TEST_SERVICES=containers puts them in the place of the embedded ones; what is asked for and cannot be had is
an error, not a reason to skip. They end with the session, by Testcontainers' reaper where that is killed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from psycopg.conninfo import make_conninfo
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from tests.fix_brokers import await_answer, two_ports
from tests.fix_postgres import SETTINGS

PATIENCE = 180.0
PASSWORD = "of-a-container"
SERVICES = yaml.safe_load((Path(__file__).parent.parent / "compose.yaml").read_text())["services"]


@dataclass(frozen=True)
class ContainedKafka:
    """A broker that can be ended and started again at the same address, with what it had."""

    container: DockerContainer
    address: str

    @property
    def config(self) -> dict[str, str]:
        return {"bootstrap.servers": self.address}

    def start(self) -> None:
        self.container.get_wrapped_container().start()
        await_answer(self.config)

    def stop(self) -> None:
        self.container.get_wrapped_container().stop(timeout=30)

    def kill(self) -> None:
        self.container.get_wrapped_container().kill()


@pytest.fixture(scope="session")
def contained_postgres() -> Iterator[str]:
    """The DSN of its superuser."""
    image = SERVICES["postgres"]["image"]
    container = PostgresContainer(image, username="postgres", password=PASSWORD, dbname="postgres", driver=None)
    settings = SETTINGS | {"max_connections": "100"}
    with container.with_command(["postgres", *(f"-c{name}={value}" for name, value in settings.items())]) as running:
        host, port = running.get_container_host_ip(), running.get_exposed_port(5432)
        yield make_conninfo(host=host, port=port, user="postgres", password=PASSWORD, dbname="postgres")


@pytest.fixture(scope="session")
def contained_redis() -> Iterator[str]:
    """The URL of a Valkey."""
    container = DockerContainer(SERVICES["valkey"]["image"]).with_exposed_ports(6379)
    container.with_command(["valkey-server", "--save", "", "--requirepass", PASSWORD])
    container.waiting_for(LogMessageWaitStrategy("Ready to accept connections").with_startup_timeout(int(PATIENCE)))
    with container as running:
        yield f"redis://:{PASSWORD}@{running.get_container_host_ip()}:{running.get_exposed_port(6379)}/0"


@pytest.fixture(scope="session")
def contained_kafka() -> Iterator[ContainedKafka]:
    """Its port is the same inside and outside, since a broker tells its clients where it is."""
    port = two_ports()
    container = DockerContainer(SERVICES["kafka"]["image"]).with_bind_ports(port, port)
    address = f"{container.get_docker_client().host()}:{port}"
    container.with_envs(
        KAFKA_NODE_ID="1", KAFKA_PROCESS_ROLES="broker,controller", KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9093",
        KAFKA_LISTENERS=f"PLAINTEXT://:{port},CONTROLLER://localhost:9093",
        KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER", KAFKA_ADVERTISED_LISTENERS=f"PLAINTEXT://{address}",
        KAFKA_HEAP_OPTS="-Xms128m -Xmx384m",
        KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1", KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
        KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
    )  # fmt: skip
    with container as running:
        broker = ContainedKafka(running, address)
        await_answer(broker.config, PATIENCE)
        yield broker
