"""Sending to the event log: an idempotent producer, partitioned as Java's client does it."""

from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from chillflow.errors import RecordRefused
from chillflow.stores.eventlog import MEGABYTE, PATIENCE, Config, down, log


class KafkaWriter:
    """An idempotent producer. See protocols.LogWriter."""

    def __init__(self, config: Config, topic: str) -> None:
        self._config, self.name = config, topic
        self._failed: KafkaError | None = None
        self._chunks: list[_Chunk] = []
        self._acknowledged = 0
        self._producer = Producer({
            **config,
            "logger": log,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": MEGABYTE,
            "batch.num.messages": 10_000,
            "message.max.bytes": 16 * MEGABYTE,
            "queue.buffering.max.messages": 400_000,
            "queue.buffering.max.kbytes": 524_288,
            "delivery.timeout.ms": 120_000,
        })  # fmt: skip

    def send(self, key: bytes, value: bytes, mark: int = 0) -> None:
        self.send_all([key], [value], mark)

    def send_all(self, keys: Sequence[bytes], values: Sequence[bytes], first_mark: int) -> None:
        chunk = _Chunk(self, first_mark, len(keys))
        self._chunks.append(chunk)
        messages: list[dict[str, Any]] = [{"key": key, "value": value} for key, value in zip(keys, values, strict=True)]
        while messages:
            self._raise()
            try:
                sent = self._producer.produce_batch(self.name, messages, on_delivery=chunk.delivered)
            except BufferError:
                sent = 0
            if sent == len(messages):
                break
            refused = [message for message in messages if "_error" in message]
            for message in refused:
                fault = message.pop("_error")
                if fault.code() != KafkaError._QUEUE_FULL:
                    raise RecordRefused(self.name, len(message["value"]), fault.str())
            messages = refused or messages
            self._producer.poll(0.05)
        self._producer.poll(0)

    def acknowledged(self) -> int:
        self._producer.poll(0)
        self._raise()
        while self._chunks and not self._chunks[0].left:
            self._acknowledged = self._chunks.pop(0).end
        return self._acknowledged

    def flush(self) -> None:
        while self._producer.flush(1.0):
            self._raise()
        self._raise()
        self.acknowledged()

    def close(self) -> None:
        self._producer.flush(PATIENCE)

    def _raise(self) -> None:
        if self._failed is not None:
            raise down(self._config, self._failed.str())


class _Chunk:
    """Records sent together: how many of them the broker has not acknowledged."""

    def __init__(self, writer: KafkaWriter, first: int, records: int) -> None:
        self.writer, self.end, self.left = writer, first + records, records

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.left -= 1
        else:
            self.writer._failed = error
