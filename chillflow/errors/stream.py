"""The event log, and what is sent to it."""

from dataclasses import dataclass

from chillflow.errors.base import ChillFlowError, UsageError

LEAVE = "chillflow assemble --switch-topic --give-up"


class StreamError(ChillFlowError):
    """The streaming path cannot go on as it is."""


@dataclass(eq=False)
class TopicMissing(StreamError):
    topic: str

    def __str__(self) -> str:
        return f"there is no topic {self.topic}; make it by sending to it with `chillflow replay`"


@dataclass(eq=False)
class TopicReplaced(StreamError):
    topic: str
    expected: str
    found: str

    def __str__(self) -> str:
        return (
            f"topic {self.topic} was deleted and made again (its id is {self.found}, the warehouse knows "
            f"{self.expected}): its offsets mean other events; send the months again with `chillflow replay`, then "
            f"run `{LEAVE}`, which counts what the former one still held"
        )


@dataclass(eq=False)
class RecordRefused(StreamError):
    topic: str
    size: int
    why: str

    def __str__(self) -> str:
        return (
            f"a record of {self.size:,} bytes cannot be sent to {self.topic} ({self.why}); "
            "an event has less than 1,000,000 bytes"
        )


@dataclass(eq=False)
class PartitionsChanged(StreamError):
    topic: str
    expected: int
    found: int

    def __str__(self) -> str:
        return (
            f"topic {self.topic} has {self.found} partitions, the group began with {self.expected}: keys have moved; "
            f"send the months again with `chillflow replay --topic NEW`, then run `{LEAVE} --topic NEW`, which counts "
            "what this one still held"
        )


@dataclass(eq=False)
class OffsetGone(StreamError):
    """Retention has passed an offset that is still needed."""

    topic: str
    partition: int
    needed: int
    first: int

    def __str__(self) -> str:
        return (
            f"{self.topic} partition {self.partition}: offsets {self.needed} to {self.first - 1} are needed but "
            "gone; raise the topic's retention, send the months concerned again with `chillflow replay --topic NEW`, "
            f"then run `{LEAVE} --topic NEW`, which counts what is lost here"
        )


@dataclass(eq=False)
class LogTooShort(StreamError):
    topic: str
    partition: int
    committed: int
    end: int

    def __str__(self) -> str:
        return (
            f"{self.topic} partition {self.partition} ends at offset {self.end}, but PostgreSQL has committed "
            f"up to {self.committed}: the broker lost data; send the months again with `chillflow replay --topic NEW`, "
            f"then run `{LEAVE} --topic NEW`"
        )


@dataclass(eq=False)
class OtherTopic(StreamError):
    """A warehouse takes one topic from one group."""

    address: str
    group: str
    topic: str
    wanted_group: str
    wanted_topic: str

    def __str__(self) -> str:
        return (
            f"the warehouse at {self.address} takes topic {self.topic} from group {self.group}, not "
            f"{self.wanted_topic} from {self.wanted_group}; go on with those, or change the topic with `chillflow "
            "assemble --switch-topic` when the old one has no lag and nothing is open"
        )


@dataclass(eq=False)
class TopicBehind(StreamError):
    """A topic that cannot be left yet, since it holds records that are not settled."""

    topic: str
    lag: int

    def __str__(self) -> str:
        return (
            f"topic {self.topic} cannot be left: {self.lag:,} of its records are not assembled; "
            f"let `chillflow assemble --until-caught-up` finish it first, or run `{LEAVE}`, which counts what is lost"
        )


@dataclass(eq=False)
class TopicGone(StreamError):
    """A topic that cannot be left as if nothing was lost, since nobody can tell."""

    topic: str
    topic_id: str

    def __str__(self) -> str:
        return (
            f"topic {self.topic} (id {self.topic_id}) is gone: nobody can tell whether it held records that are not "
            f"assembled; run `{LEAVE}`, which says up to where it was"
        )


@dataclass(eq=False)
class LettersRefused(ChillFlowError):
    """Dead letters that still cannot be read."""

    refused: int
    sent: int

    def __str__(self) -> str:
        return (
            f"{self.refused:,} letters still cannot be read and were not sent ({self.sent:,} were); repair what is "
            "named above in the file and run the same command again: sending a letter twice does no harm"
        )


@dataclass(eq=False)
class ReplayBusy(StreamError):
    def __str__(self) -> str:
        return "another process sends this very replay; wait for its end, or stop it and run the command again"


@dataclass(eq=False)
class ReplayStopped(StreamError):
    """Interrupted by a signal."""

    what: str
    acknowledged: int
    total: int

    def __str__(self) -> str:
        if not self.total:
            return f"{self.what}: stopped before anything was sent; run the same command again"
        return (
            f"{self.what}: stopped at {self.acknowledged:,} of {self.total:,} events; "
            "the same command goes on from there"
        )


@dataclass(eq=False)
class OtherPartitions(UsageError):
    topic: str
    wanted: int
    found: int

    def __str__(self) -> str:
        return (
            f"topic {self.topic} has {self.found} partitions, not {self.wanted}; "
            "leave --partitions out, or send to a new topic with --topic"
        )
