"""Dead letters in PostgreSQL, repaired ones on their way back to the log, and what the commands say of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chillflow import cli
from chillflow.events import DeadLetter, key_of
from chillflow.jobs.redrive import Redriving, letters_in, letters_of, redrive_letters
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.dead_letters import Sought, count, each
from chillflow.stores.warehouse import Warehouse
from tests.stream_samples import rides
from tests.trip_stores import IMPATIENT, TOPIC, claimed, id_of, trip, write
from tests.unit.test_letters import payload
from tests.warehouse_samples import MONTH, ask

EVENTS = rides(3, 2)[0].all()
GOOD = payload(EVENTS[0])
KEY = key_of(EVENTS[0].trip_id)
LETTERS = [
    DeadLetter(0, 5, KEY.encode(), b"\xff{", "payload: it is not UTF-8"),
    DeadLetter(1, 7, b"wrong", GOOD, "key: it is not the trip's id with the last bit cleared"),
    DeadLetter(1, 9, None, payload(EVENTS[0], schema_version=9), "schema_version: invalid enum value 9; 100% _sure_"),
    DeadLetter(2, 1, KEY.encode(), None, "payload: it is empty"),
]


@pytest.fixture
def dsn(warehouse: Warehouse) -> str:
    store = PostgresTripStore(warehouse.dsn, IMPATIENT)
    with store.transaction() as transaction:
        transaction.bury(TOPIC, LETTERS)
    store.close()
    return warehouse.dsn


@pytest.fixture
def run(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    monkeypatch.setenv("CHILLFLOW_POSTGRES_DSN", warehouse.dsn)
    monkeypatch.setenv("CHILLFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CHILLFLOW_KAFKA_BOOTSTRAP", raising=False)

    def run(*command: str) -> Result:
        return CliRunner().invoke(cli.chillflow, command)

    return run


class Sent:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes, bytes]] = []
        self.flushed = 0

    def to(self, topic: str) -> "Sent":
        self.topic = topic
        return self

    def send(self, key: bytes, value: bytes, mark: int = 0) -> None:
        self.records.append((self.topic, key, value))

    def flush(self) -> None:
        self.flushed = len(self.records)

    def close(self) -> None: ...


def marked(dsn: str) -> list[tuple[int, int]]:
    return [(letter.partition, letter.offset) for letter in each(dsn, Sought(redriven=True))]


def places(dsn: str, **sought: Any) -> list[int]:
    return [letter.offset for letter in each(dsn, Sought(**sought))]


def test_letters_are_found_by_what_is_asked(dsn: str) -> None:
    assert places(dsn) == [5, 7, 9, 1]
    assert [letter.payload for letter in each(dsn, Sought())] == [letter.payload for letter in LETTERS]
    assert places(dsn, holds="UTF") == places(dsn, holds="utf") == [5]
    assert places(dsn, holds="% _sure_") == [9]
    assert places(dsn, holds="_ot") == []
    assert places(dsn, reason="payload: it is empty") == [1]
    assert places(dsn, key=KEY) == [5, 1]
    assert places(dsn, partition=1, offset=9, topic=TOPIC.name) == [9]
    assert places(dsn, topic="another") == []
    assert [letter.offset for letter in each(dsn, Sought(), limit=2)] == [5, 7]
    assert count(dsn) == (4, 0)


def test_redriving_sends_what_can_be_read_now_and_marks_it(dsn: str) -> None:
    """The key was wrong: now it is the one that the event asks for."""
    sent = Sent()
    redriving = Redriving(dsn, sent.to, None)
    readable, refused, told = redrive_letters(letters_in(dsn, Sought(redriven=False)), redriving)
    assert sent.records == [(TOPIC.name, KEY.encode(), GOOD)]
    assert (readable, refused.total(), len(told), sent.flushed, redriving.sent, redriving.marked) == (1, 3, 3, 1, 1, 1)
    assert marked(dsn) == [(1, 7)]
    assert redrive_letters(letters_in(dsn, Sought(redriven=False)), redriving)[0] == 0
    assert redrive_letters(letters_in(dsn, Sought()), redriving)[0] == 1
    redriving.close()
    assert count(dsn) == (4, 1)


def test_nothing_is_marked_before_it_is_at_the_broker(dsn: str) -> None:
    class Away(Sent):
        def flush(self) -> None:
            raise ConnectionError

    redriving = Redriving(dsn, Away().to, "another")
    with pytest.raises(ConnectionError):
        redrive_letters(letters_in(dsn, Sought()), redriving)
    redriving.close()
    assert marked(dsn) == []


def test_letters_are_exported_repaired_and_sent(dsn: str, run: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "letters.jsonl"
    assert run("dead-letters", "--export", str(file)).exit_code == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["offset"] for line in lines] == [5, 7, 9, 1]
    lines[2]["payload"] = json.loads(GOOD)
    lines[3]["payload"] = GOOD.decode()
    file.write_text("\n".join([*map(json.dumps, lines), "", "{", ""]))
    sent = Sent()
    redriving = Redriving(dsn, sent.to, "newer")
    readable, refused, told = redrive_letters(letters_of(file), redriving)
    redriving.close()
    assert (readable, redriving.marked, refused.total()) == (3, 3, 2)
    assert sent.records == [("newer", KEY.encode(), GOOD)] * 3
    assert [text.partition(":")[0] for text in told] == ["line 1", "line 6"]
    assert marked(dsn) == [(1, 7), (1, 9), (2, 1)]
    again = run("dead-letters", "--export", str(file))
    assert (again.exit_code, type(again.exception).__name__) == (1, "FileThere")
    for more, left in (([], 1), (["--all"], 4), (["--all", "--limit", "2"], 2), (["--reason", "nothing such"], 0)):
        other = tmp_path / f"{left}.jsonl"
        run("dead-letters", "--export", str(other), *more)
        assert len(other.read_text().splitlines()) == left


def test_a_dry_run_sends_nothing(dsn: str, run: Callable[..., Result]) -> None:
    done = run("redrive", "--dry-run")
    assert done.exit_code == 0
    assert "1 letters can be read and would be sent, 3 cannot" in done.stderr
    assert "1 x payload: it is not UTF-8" in done.stderr
    assert marked(dsn) == []


def test_dead_letters_are_shown(dsn: str, run: Callable[..., Result]) -> None:
    shown = json.loads(run("dead-letters", "--json").stdout)
    assert {row["offset"]: row["payload"] for row in shown}[7] == GOOD.decode()
    assert len(json.loads(run("dead-letters", "--json", "--limit", "1").stdout)) == 1
    assert [row["offset"] for row in json.loads(run("dead-letters", "--json", "--reason", "100% _").stdout)] == [9]
    table = run("dead-letters")
    assert "it is not UTF-8" in table.stdout
    assert "4 dead letters, 0 of them redriven; 4 shown" in table.stderr


def test_without_letters_or_incomplete_trips_it_is_said(run: Callable[..., Result]) -> None:
    for command in ("dead-letters", "incomplete"):
        assert json.loads(run(command, "--json").stdout) == []
        done = run(command)
        assert (done.exit_code, done.stdout) == (0, "")
        assert "0 dead letters" in done.stderr or "no incomplete" in done.stderr


def test_incomplete_trips_are_shown(warehouse: Warehouse, run: Callable[..., Result]) -> None:
    store = PostgresTripStore(warehouse.dsn, IMPATIENT)
    _, [claim] = claimed(store)
    write(store, claim, 0, 1, trip(0, (1, 0, 2)), trip(1, (0, 1, 0)))
    store.close()
    assert [row["trip_id"] for row in json.loads(run("incomplete", "--json").stdout)] == [id_of(1), id_of(0)]
    for more, left in (
        (["yellow"], 2), (["green"], 0), (["yellow", str(MONTH)], 2), (["yellow", str(MONTH.next)], 0),
        (["--missing", "trip_ended"], 1), (["yellow", "2018-10..2018-12", "--limit", "1"], 1),
    ):  # fmt: skip
        assert len(json.loads(run("incomplete", *more, "--json").stdout)) == left
    table = run("incomplete", "yellow")
    assert "trip_started, payment_processed" in table.stdout
    assert "2 incomplete trips shown" in table.stderr


def test_a_trip_is_shown_with_the_revisions_of_its_events(dsn: str, run: Callable[..., Result]) -> None:
    store = PostgresTripStore(dsn, IMPATIENT)
    _, [claim] = claimed(store)
    write(store, claim, 0, 1, trip(0, (1, 3, 1)), trip(1, (1, 0, 1)), trip(2, total_amount=-7.5))
    with store.transaction() as transaction:
        transaction.bury(TOPIC, [DeadLetter(2, 44, id_of(2).encode(), b"[/]", "payload: [bold]?")])
    store.close()
    table = run("trip", id_of(0).upper())
    assert table.exit_code == 0
    assert "revision 3, a correction" in table.stdout
    assert "has not come" in run("trip", id_of(1)).stdout
    rows = json.loads(run("trip", id_of(2, reversal=True), "--json").stdout)
    assert [row["table"] for row in rows] == ["adjustments", "dead_letters"]
    assert (rows[1]["offset"], rows[1]["payload"]) == (44, "[/]")
    assert "[bold]?" in run("trip", id_of(2, reversal=True)).stdout
    only_dead = json.loads(run("trip", KEY, "--json").stdout)
    assert [(row["table"], row["partition"]) for row in only_dead] == [("dead_letters", 0), ("dead_letters", 2)]
    ask(dsn, "update chillflow.trips set started_revision = 0, source = 'batch'")
    assert "as in the file" in run("trip", id_of(0)).stdout
    assert type(run("trip", id_of(9)).exception).__name__ == "TripUnknown"
    assert type(run("trip", "x").exception).__name__ == "BadTripId"
