"""Whether the stream stands still: its rows can be judged only when all that was sent has been settled."""

from collections.abc import Callable

from chillflow.errors import NeverAssembled, ReplayRunning, StreamBehind, TopicMissing, TopicReplaced, TripsStillOpen
from chillflow.stores.protocols import LogReader
from chillflow.stores.replays import replay_running
from chillflow.stores.stream_rows import StreamRows

Standing = tuple[str, tuple[int, ...]]
"""The topic, and the next offset of each partition."""


def require_still(rows: StreamRows, reader_of: Callable[[str], LogReader], say: Callable[[str], None]) -> Standing:
    """Where the stream stands, everything settled; `reader_of` makes a reader of a topic.

    Raises ReplayRunning, NeverAssembled, TripsStillOpen, StreamBehind, TopicReplaced, ServiceDown. A topic that is gone
    holds nothing to wait for.
    """
    if replay_running(rows.dsn):
        raise ReplayRunning(rows.address)
    found = rows.standing()
    if found is None:
        raise NeverAssembled(rows.address)
    topic, positions = found
    waiting = tuple(int(row["partition"]) for row in positions if row["rewind_offset"] < row["next_offset"])
    reader = reader_of(topic.name)
    try:
        present = reader.topic()
        if present.topic_id != topic.topic_id:
            raise TopicReplaced(topic.name, topic.topic_id, present.topic_id)
        behind = [reader.range(int(row["partition"]))[1] - int(row["next_offset"]) for row in positions]
    except TopicMissing:
        say(f"topic {topic.name} is gone from the broker: what was sent and not assembled is lost with it")
        behind = []
    finally:
        reader.close()
    lags = [lag for lag in behind if lag > 0]
    if lags:
        raise StreamBehind(topic.name, sum(lags), len(lags))
    if waiting:
        raise TripsStillOpen(topic.name, waiting)
    return _standing(topic.name, positions)


def stands(rows: StreamRows) -> Standing | None:
    """Where the stream stands, settled or not."""
    found = rows.standing()
    return None if found is None else _standing(found[0].name, found[1])


def _standing(topic: str, positions: list[dict[str, object]]) -> Standing:
    return topic, tuple(int(str(row["next_offset"])) for row in positions)
