"""Apache Kafka behind TLS and passwords: every client gets through, and says why it does not."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chillflow.errors import ServiceDown
from chillflow.jobs.session import kafka_config
from chillflow.settings import Settings
from chillflow.stores.eventlog import KafkaReader, describe, ensure_topic
from chillflow.stores.log_writer import KafkaWriter
from chillflow.stores.probes import examine_kafka
from tests.fix_brokers import Kafka, await_answer, kafka_script, two_ports
from tests.streams import new_topic

USER, PASSWORD = "chillflow", "SECRET-of-the-broker"


@dataclass
class Secured:
    """A broker whose second listener asks for TLS and a password."""

    kafka: Kafka
    port: int
    ca: Path

    def config(self, **more: str) -> dict[str, str]:
        """What all jobs and commands tell librdkafka, from the settings."""
        return kafka_config(Settings.read({
            "CHILLFLOW_KAFKA_BOOTSTRAP": f"localhost:{self.port}", "CHILLFLOW_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "CHILLFLOW_KAFKA_SASL_USERNAME": USER, "CHILLFLOW_KAFKA_SASL_PASSWORD": PASSWORD,
            "CHILLFLOW_KAFKA_CA": str(self.ca), **more,
        }))  # fmt: skip


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    script = kafka_script()
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, for certificates")
    folder = tmp_path_factory.mktemp("secured")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    port, own = two_ports(), two_ports()
    while abs(port - own) < 2:
        own = two_ports()
    module = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    properties = f"""
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + 1},SECURED://127.0.0.1:{own}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SECURED://localhost:{own}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL
listener.name.secured.sasl.enabled.mechanisms=PLAIN
listener.name.secured.plain.sasl.jaas.config={module} username="a" password="b" user_{USER}="{PASSWORD}";
listener.name.secured.ssl.keystore.type=PEM
listener.name.secured.ssl.keystore.location={both}
"""
    kafka = Kafka(script, folder / "broker", port, properties)
    try:
        kafka.start()
        secured = Secured(kafka, own, certificate)
        await_answer(secured.config())
        yield secured
    finally:
        kafka.close()


def test_events_go_through_a_broker_that_asks_for_tls_and_a_password(secured: Secured) -> None:
    config = secured.config()
    topic = ensure_topic(config, new_topic(), 1)
    writer = KafkaWriter(config, topic.name)
    writer.send_all([b"key"] * 3, [b"one", b"two", b"three"], 0)
    writer.flush()
    writer.close()
    assert describe(config, topic.name) == topic
    reader = KafkaReader(config, topic.name)
    assert reader.range(0) == (0, 3)
    reader.assign(0, 0)
    values: list[bytes | None] = []
    while len(values) < 3:
        values += [value for polled in reader.poll(10, 0.1) for value in polled.values]
    reader.close()
    assert values == [b"one", b"two", b"three"]
    assert examine_kafka(config).version


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"CHILLFLOW_KAFKA_SASL_PASSWORD": "another"}, "Authentication failed"),
        ({"CHILLFLOW_KAFKA_CA": ""}, "certificate verify failed"),
    ],
    ids=["a wrong password", "a certificate that nobody signed"],
)
def test_who_is_refused_is_told_why(secured: Secured, changed: dict[str, str], why: str) -> None:
    with pytest.raises(ServiceDown, match=why) as caught:
        describe(secured.config(**changed), new_topic())
    assert PASSWORD not in str(caught.value)
