"""Dead letters: records that could not be read, as lines that people repair, and what can be read now."""

import base64
import binascii
import datetime as dt
from dataclasses import dataclass
from typing import Any

import msgspec

from chillflow.events import key_of
from chillflow.reading import Unreadable, read


@dataclass(frozen=True)
class Letter:
    """A row of `dead_letters`: where the record lies in the log, and why it could not be read."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    key: bytes | None
    payload: bytes | None
    reason: str
    at: dt.datetime | None = None
    redriven_at: dt.datetime | None = None

    @property
    def place(self) -> tuple[str, int, int]:
        return self.topic_id, self.partition, self.offset


class _Line(msgspec.Struct, kw_only=True):
    topic: str
    topic_id: str
    partition: int
    offset: int
    reason: str = ""
    payload: msgspec.Raw = msgspec.Raw(b"null")
    payload_base64: str | None = None


def to_line(letter: Letter) -> bytes:
    """A letter as a line of JSON: its payload as text where it is UTF-8, else in base64."""
    shown: dict[str, Any] = {
        "topic": letter.topic,
        "topic_id": letter.topic_id,
        "partition": letter.partition,
        "offset": letter.offset,
        "at": letter.at,
        "redriven_at": letter.redriven_at,
        "key": None if letter.key is None else letter.key.decode("utf-8", "backslashreplace"),
        "reason": letter.reason,
    }
    try:
        shown["payload"] = None if letter.payload is None else letter.payload.decode()
    except UnicodeDecodeError:
        shown["payload_base64"] = base64.b64encode(letter.payload or b"").decode()
    return msgspec.json.encode(shown) + b"\n"


def of_line(line: bytes) -> Letter:
    """The letter of a line, its payload repaired or not: a text, or the event itself as an object.

    Raises Unreadable for what is no line of `to_line`.
    """
    try:
        found = msgspec.json.decode(line, type=_Line)
        payload = _payload(found)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as fault:
        raise Unreadable(f"the line is none of an export: {fault}") from fault
    return Letter(found.topic, found.topic_id, found.partition, found.offset, None, payload, found.reason)


def _payload(line: _Line) -> bytes | None:
    if line.payload_base64 is not None:
        return base64.b64decode(line.payload_base64, validate=True)
    raw = bytes(line.payload)
    if raw.startswith(b"{"):
        return raw
    text = msgspec.json.decode(raw, type=str | None)
    return None if text is None else text.encode()


def record_of(letter: Letter, now: dt.datetime) -> tuple[bytes, bytes]:
    """The record (key, value) of a letter that can be read now: the key is the one that its event asks for.

    `now` is New York wall time. Raises Unreadable.
    """
    payload = letter.payload or b""
    key = _key(payload)
    read(key, payload, now)
    return key, payload


class _Told(msgspec.Struct):
    trip_id: str


def _key(payload: bytes) -> bytes:
    try:
        return key_of(msgspec.json.decode(payload, type=_Told).trip_id).encode()
    except (msgspec.DecodeError, UnicodeError, ValueError, IndexError):
        return b""
