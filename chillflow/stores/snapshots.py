"""A snapshot's envelope: whose it is, as of which offset, and whether it is whole; in Redis as in memory."""

import zlib
from typing import Any

import msgspec
import pyarrow as pa

from chillflow.positions import Claim

FORMAT = 1
_CODEC = pa.Codec("zstd", compression_level=1)


class _Snapshot(msgspec.Struct, array_like=True):
    version: int
    token: str
    topic_id: str
    offset: int
    size: int
    payload: bytes


def seal(claim: Claim, offset: int, payload: bytes) -> bytes:
    """The bytes to store of a state as of `offset`."""
    packed: Any = _CODEC.compress(payload, asbytes=True)
    body = msgspec.msgpack.encode(_Snapshot(FORMAT, claim.token, claim.topic.topic_id, offset, len(payload), packed))
    return _checksum(body) + body


def open_for(claim: Claim, stored: bytes | None) -> tuple[int, bytes] | None:
    """(offset, payload) of a snapshot that the claim may go on from, else None.

    It must be whole, of this format and topic, made under the token that the claim replaced, and as of an offset
    between rewind_offset and next_offset.
    """
    if not stored or _checksum(stored[4:]) != stored[:4]:
        return None
    try:
        found = msgspec.msgpack.decode(memoryview(stored)[4:], type=_Snapshot)
    except msgspec.DecodeError:
        return None
    if found.version != FORMAT or found.topic_id != claim.topic.topic_id or found.token != claim.replaced:
        return None
    if not claim.position.rewind_offset <= found.offset <= claim.position.next_offset:
        return None
    return found.offset, _CODEC.decompress(found.payload, decompressed_size=found.size, asbytes=True)


def _checksum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "big")
