"""The assemble job: its driver coordinates assemblers until it is told to stop, or has caught up."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import click

from chillflow import console
from chillflow.actors.assembler import Services
from chillflow.actors.coordinator import Coordinator
from chillflow.clock import SystemClock
from chillflow.errors import MachineGone, NotDrained, TopicMissing
from chillflow.jobs import options, session
from chillflow.jobs.leaving import leave
from chillflow.jobs.schema import prepare
from chillflow.jobs.stopping import Stop
from chillflow.jobs.talk import Talk
from chillflow.positions import Desired, Group, Topic
from chillflow.progress import Reporter
from chillflow.roster import PATIENCE, Roster
from chillflow.settings import Settings
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.eventlog import KafkaReader
from chillflow.stores.protocols import LogReader
from chillflow.stores.replays import replay_running

TURN = 0.1
"""Seconds between rounds of the coordinator."""

DRAIN = 30.0
"""Seconds that assemblers have to let go."""


@click.command()
@options.group
@click.option(
    "--workers", type=click.IntRange(1, 1000), metavar="N", help="assemblers [default: as before; at first 1]"
)
@click.option("--topic", help="where the events come from [default: the group's; at first trip-events]")
@click.option("--until-caught-up", is_flag=True, help="end when no replay runs and nothing waits; close what is open")
@click.option("--switch-topic", is_flag=True, help="leave the group's topic, which is done with, for --topic")
@click.option("--give-up", is_flag=True, help="with --switch-topic: leave it as it is, and count what is lost")
def assemble(
    group: str, workers: int | None, topic: str | None, until_caught_up: bool, switch_topic: bool, give_up: bool
) -> None:
    """Assemble events into trips, until SIGTERM or Ctrl-C.

    Each partition of the topic has one assembler, a Ray actor. Run one `assemble` at a time: a second one takes over.
    Stopped or killed at any moment, the next one goes on where this one was.
    """
    if give_up and not switch_topic:
        raise click.UsageError("--give-up goes with --switch-topic")
    settings = Settings.read()
    dsn, kafka = session.postgres_dsn(settings), session.kafka_config(settings)
    stop = Stop()
    with Reporter() as reporter, session.Cluster(settings) as cluster:
        prepare(dsn, reporter)
        store = PostgresTripStore(dsn)
        former = store.group(group)
        name = topic or (former.topic.name if former else options.TOPIC)
        services = Services(dsn, session.redis_url(settings), kafka, name, group, session.roster(settings))
        cluster.connect(data=False)
        stop.listen()
        with _closing(KafkaReader(kafka, name, group)) as reader:
            found = _topic(reader, stop, reporter.say, lambda: not until_caught_up or replay_running(dsn))
            if found is None:
                return
            if switch_topic:
                leave(store, group, found, kafka, give_up, reporter.say)
            before = former.desired if former else Desired()
            desired = replace(before, size=workers, minimum=None, maximum=None) if workers else None
            _run(store.take_group(group, found, desired), store, reader, services, until_caught_up, stop, reporter.say)
        store.close()


def _run(
    group: Group,
    store: PostgresTripStore,
    reader: LogReader,
    services: Services,
    until_caught_up: bool,
    stop: Stop,
    say: Callable[[str], None],
) -> None:
    from chillflow.actors.pool import RayPool
    from chillflow.actors.publishing import Publisher

    clock, pool = SystemClock(), RayPool(services, say)
    with ThreadPoolExecutor(1, "ends") as thread:
        coordinator = Coordinator(
            group, store, pool, reader, clock,
            quiet=(lambda: not replay_running(services.postgres)) if until_caught_up else None, thread=thread, say=say,
        )  # fmt: skip
        publisher, talk = Publisher(coordinator), Talk(coordinator, clock, say)
        roster, leaving = Roster(services.roster), False
        roster.sign_in()
        talk.begin()
        asked_at: float | None = None
        try:
            while not coordinator.ended:
                for _ in coordinator.turn():
                    pass
                publisher.publish()
                talk.go_on()
                leaving = leaving or roster.leaving()
                if (leaving or stop.asked.is_set()) and not coordinator.stopping:
                    why = "this machine is being emptied" if leaving else "stopping"
                    say(f"{why}: assemblers commit what they have read, and let go")
                    coordinator.stop()
                if coordinator.stopping:
                    asked_at = asked_at or clock.monotonic()
                    if stop.at_once or clock.monotonic() > asked_at + DRAIN:
                        raise NotDrained(round(clock.monotonic() - asked_at))
                    threading.Event().wait(TURN)
                else:
                    stop.asked.wait(TURN)
        finally:
            pool.close()
            roster.sign_off()
        talk.end(publisher.totals())
    if coordinator.error is not None:
        raise coordinator.error
    # The work is not done, only here it is over: whoever restarts what dies with its machine shall do so.
    if leaving and not stop.asked.wait(PATIENCE):
        raise MachineGone(PATIENCE)


def _topic(reader: LogReader, stop: Stop, say: Callable[[str], None], waits: Callable[[], bool]) -> Topic | None:
    """The topic, which a replay may be about to make; None where this was stopped before it was there."""
    said = False
    while not stop.asked.is_set():
        try:
            return reader.topic()
        except TopicMissing as error:
            if not waits():
                raise
            if not said:
                say(f"{error}; waiting for it")
            said = True
        stop.asked.wait(1.0)
    return None


@contextmanager
def _closing(reader: KafkaReader) -> Iterator[KafkaReader]:
    try:
        yield reader
    finally:
        reader.close()


def main() -> None:
    console.run(assemble, "chillflow assemble")


if __name__ == "__main__":
    main()
