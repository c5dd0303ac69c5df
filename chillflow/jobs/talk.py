"""What `assemble` says of its progress: a line now and then, while something moves."""

from collections.abc import Callable, Mapping

from chillflow.actors.coordinator import Coordinator
from chillflow.clock import Clock

EVERY = 10.0


class Talk:
    """Says rate and lag every 10 seconds in which something was settled, and who owns what when that has changed."""

    def __init__(self, coordinator: Coordinator, clock: Clock, say: Callable[[str], None]) -> None:
        self._coordinator, self._clock, self._say = coordinator, clock, say
        self._began = self._said_at = clock.monotonic()
        self._before = 0
        self._shown: dict[str, int] = {}

    def begin(self) -> None:
        group = self._coordinator.group
        topic = f"{group.topic.name} ({group.topic.partitions} partitions)"
        self._say(f"group {group.name} takes {topic} under epoch {group.epoch}")

    def go_on(self) -> None:
        self._owners()
        now = self._clock.monotonic()
        if now - self._said_at < EVERY:
            return
        events, lag = self._events(), sum(self._coordinator.lag.values())
        if events > self._before:
            rate = (events - self._before) / (now - self._said_at)
            self._say(f"{rate:,.0f} events/s, lag {lag:,}")
        self._said_at, self._before = now, events

    def end(self, totals: Mapping[str, int]) -> None:
        seconds = self._clock.monotonic() - self._began
        counts = {name.removeprefix("chillflow_").replace("_", " "): count for name, count in totals.items() if count}
        events = counts.pop("events", 0)
        rest = "".join(f", {name} {count:,}" for name, count in counts.items())
        self._say(f"{events:,} events settled in {seconds:.1f} s{rest}")

    def _owners(self) -> None:
        """A line when every partition has an owner that is up to date, and the owners are not those told of last."""
        members = self._coordinator.members.values()
        owners = {member.name: sum(one.state == "live" for one in member.told.values()) for member in members}
        whole = sum(owners.values()) == self._coordinator.group.topic.partitions
        if whole and owners != self._shown and max(owners.values()) - min(owners.values()) <= 1:
            shared = ", ".join(f"{name} has {count}" for name, count in sorted(owners.items()))
            self._say(f"every partition is owned: {shared}")
            self._shown = owners

    def _events(self) -> int:
        return sum(status.committed for status in self._coordinator.statuses())
