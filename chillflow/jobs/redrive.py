"""The redrive job: dead letters that can be read now back to the log; safely more than once.

A letter is marked as redriven after the broker has acknowledged it: a run that is killed sends some of them again, and
assembly drops what it has.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from chillflow import console
from chillflow.clock import SystemClock
from chillflow.errors import BadWhere, LettersRefused, TopicReplaced
from chillflow.jobs import session
from chillflow.letters import Letter, of_line, record_of
from chillflow.reading import Unreadable
from chillflow.settings import Settings
from chillflow.stores import dead_letters
from chillflow.stores.dead_letters import Sought
from chillflow.stores.eventlog import describe
from chillflow.stores.log_writer import KafkaWriter
from chillflow.stores.protocols import LogWriter
from chillflow.stores.stream_rows import StreamRows
from chillflow.stores.warehouse import Warehouse

LETTERS, BYTES = 1_000, 8_000_000
"""How many letters are sent before they are marked."""

_CONDITION = re.compile(r"\s*(\w+)\s*([=~])(.*)", re.DOTALL)
Found = tuple[str, Letter | Unreadable]
"""What a letter is called, and the letter or what is wrong with its line."""


class Redriving:
    """Sends what can be read, in portions, and marks it; counts and names what cannot."""

    def __init__(self, dsn: str, writer: Callable[[str], LogWriter], topic: str | None = None) -> None:
        """`writer` makes one to a topic; without `topic`, each letter goes to the one that it came from."""
        self._warehouse, self._open, self._topic = Warehouse(dsn), writer, topic
        self._writers: dict[str, LogWriter] = {}
        self.sent, self.marked = 0, 0

    def send(self, records: list[tuple[Letter, bytes, bytes]]) -> None:
        """Sends records (letter, key, value); returns when they are at the broker and the letters marked."""
        for letter, key, value in records:
            self._writer(self._topic or letter.topic).send(key, value)
        for writer in self._writers.values():
            writer.flush()
        self.sent += len(records)
        self.marked += self._warehouse.mark_redriven(letter.place for letter, _, _ in records)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._warehouse.close()

    def _writer(self, topic: str) -> LogWriter:
        if topic not in self._writers:
            self._writers[topic] = self._open(topic)
        return self._writers[topic]


def letters_of(file: Path) -> Iterator[Found]:
    """The letters of an export, called by their lines."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield f"line {number}", of_line(line)
                except Unreadable as why:
                    yield f"line {number}", why


def letters_in(dsn: str, sought: Sought) -> Iterator[Found]:
    for letter in dead_letters.each(dsn, sought):
        yield f"{letter.topic} {letter.partition}:{letter.offset}", letter


def sought_by(conditions: Iterable[str]) -> Sought:
    """What `--where` asks for, all of it; raises BadWhere."""
    asked: dict[str, Any] = {}
    for text in conditions:
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise BadWhere(text, "it has no = and no ~")
        name, sign, value = match.groups()
        if sign == "~" and name == "reason":
            asked["holds"] = value
        elif sign == "=" and name in ("partition", "offset"):
            if not value.strip().isdigit():
                raise BadWhere(text, f"{value!r} is no whole number")
            asked[name] = int(value)
        elif sign == "=" and name in ("topic", "key", "reason"):
            asked[name] = value
        else:
            raise BadWhere(text, f"{name}{sign} is not known")
    return Sought(**asked)


def redrive_letters(found: Iterable[Found], redriving: Redriving | None) -> tuple[int, Counter[str], list[str]]:
    """Sends the letters that can be read now; without `redriving`, none.

    Returns how many can be read, and of the others how many by reason, and what to say of the first hundred.
    """
    clock, readable = SystemClock(), 0
    refused: Counter[str] = Counter()
    told: list[str] = []
    portion: list[tuple[Letter, bytes, bytes]] = []
    for name, letter in found:
        try:
            if isinstance(letter, Unreadable):
                raise letter
            key, value = record_of(letter, clock.wall())
        except Unreadable as why:
            refused[str(why)] += 1
            if len(told) < 100:
                told.append(f"{name}: {why}")
            continue
        readable += 1
        if redriving is not None:
            portion.append((letter, key, value))
            if len(portion) == LETTERS or sum(len(value) for _, _, value in portion) > BYTES:
                redriving.send(portion)
                portion = []
    if redriving is not None and portion:
        redriving.send(portion)
    return readable, refused, told


def open_writer(config: dict[str, str], topic: str) -> LogWriter:
    """A writer to a topic that is there; raises TopicMissing."""
    describe(config, topic)
    return KafkaWriter(config, topic)


def _topic(settings: Settings, dsn: str) -> str | None:
    """The topic that the warehouse takes now, if it takes one; raises TopicReplaced."""
    with StreamRows(dsn) as rows:
        found = rows.standing()
    if found is None:
        return None
    present = describe(session.kafka_config(settings), found[0].name)
    if present.topic_id != found[0].topic_id:
        raise TopicReplaced(present.name, found[0].topic_id, present.topic_id)
    return present.name


@click.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--where", multiple=True, metavar="CONDITION",
    help="reason~TEXT, or topic=, partition=, offset=, key=, reason=VALUE; all of them [default: all dead letters]",
)  # fmt: skip
@click.option("--again", is_flag=True, help="also letters that were redriven already")
@click.option("--dry-run", is_flag=True, help="send nothing, say what would be sent")
def redrive(file: Path | None, where: tuple[str, ...], again: bool, dry_run: bool) -> None:
    """Send repaired dead letters back to the log.

    FILE is one that `chillflow dead-letters --export FILE` wrote, its payloads repaired. Without FILE, the letters in
    the warehouse are sent as they are, where this version can read them: after an upgrade, say, or where only the key
    was wrong. The rest stay dead letters. Sending a letter twice does no harm.
    """
    settings = Settings.read()
    if file and where:
        raise BadWhere(where[0], "the letters are those of the file")
    sought = replace(sought_by(where), redriven=None if again else False)
    dsn = session.postgres_dsn(settings)
    found = letters_of(file) if file else letters_in(dsn, sought)
    if dry_run:
        readable, refused, told = redrive_letters(found, None)
        _tell(file, refused, told)
        console.say(f"{readable:,} letters can be read and would be sent, {refused.total():,} cannot")
        return
    redriving = Redriving(dsn, partial(open_writer, session.kafka_config(settings)), _topic(settings, dsn))
    try:
        readable, refused, told = redrive_letters(found, redriving)
    finally:
        redriving.close()
    _tell(file, refused, told)
    console.say(
        f"{readable:,} letters sent, {redriving.marked:,} marked as redriven; {refused.total():,} cannot be read"
    )
    if readable:
        console.say("`chillflow assemble` takes them from the log, now or when it is started")
    if file and refused:
        raise LettersRefused(refused.total(), readable)


def _tell(file: Path | None, refused: Counter[str], told: list[str]) -> None:
    if file:
        for text in told:
            console.say(text)
        if refused.total() > len(told):
            console.say(f".. and {refused.total() - len(told):,} more")
    else:
        for reason, count in refused.most_common(20):
            console.say(f"cannot be read: {count:,} x {reason}")


def main() -> None:
    console.run(redrive, "chillflow redrive")


if __name__ == "__main__":
    main()
