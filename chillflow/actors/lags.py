"""Where the log ends, asked aside, so that a slow broker does not hold up whoever wants to know."""

from collections.abc import Mapping
from concurrent.futures import Future

from chillflow.actors.fetching import Thread
from chillflow.clock import Clock
from chillflow.errors import ChillFlowError, PartitionsChanged, ServiceDown, TopicMissing, TopicReplaced
from chillflow.positions import Topic
from chillflow.stores.protocols import LogReader

TOPIC_EVERY = 10.0
SOON = 0.3
MISSES = 3
"""So often the topic has to be missing: brokers that come back do not know all topics at once."""


class Ends:
    """The ends of a topic's partitions; `asked_at` is when they were asked for, None before the first answer.

    `trouble`: why there was no answer the last time.
    """

    def __init__(self, reader: LogReader, topic: Topic, clock: Clock, thread: Thread, every: float) -> None:
        self.reader, self.topic, self.clock, self.every = reader, topic, clock, every
        self.at: Mapping[int, int] = {}
        self.asked_at: float | None = None
        self.trouble: ChillFlowError | None = None
        self._missed = 0
        self._thread = thread
        self._coming: tuple[float, Future[dict[int, int]]] | None = None
        self._next = self._topic_next = clock.monotonic()

    def look(self, *, soon: bool = False) -> None:
        """Takes in what has come, asks when it is time. Raises TopicReplaced, PartitionsChanged, TopicMissing.

        `soon`: the assemblers are at the ends, so that it costs little to ask now.
        """
        now = self.clock.monotonic()
        if self._coming is None and (now >= self._next or (soon and now >= self._next - self.every + SOON)):
            self._coming = now, self._thread.submit(self._ask, now >= self._topic_next)
        if self._coming is None or not self._coming[1].done():
            return
        (asked_at, answer), self._coming = self._coming, None
        self._next = now + self.every
        if now >= self._topic_next:
            self._topic_next = now + TOPIC_EVERY
        try:
            self.at = answer.result()
        except ServiceDown as error:
            self.trouble = error
        except TopicMissing as error:
            self.trouble, self._missed = error, self._missed + 1
            if self._missed >= MISSES:
                raise
        else:
            self.asked_at, self.trouble, self._missed = asked_at, None, 0

    def _ask(self, of_topic: bool) -> dict[int, int]:
        if of_topic:
            check_topic(self.topic, self.reader.topic())
        ranges = self.reader.ranges(range(self.topic.partitions))
        return {partition: end for partition, (_, end) in ranges.items()}


def check_topic(known: Topic, found: Topic) -> None:
    """Raises TopicReplaced and PartitionsChanged."""
    if found.topic_id != known.topic_id:
        raise TopicReplaced(known.name, known.topic_id, found.topic_id)
    if found.partitions != known.partitions:
        raise PartitionsChanged(known.name, known.partitions, found.partitions)
