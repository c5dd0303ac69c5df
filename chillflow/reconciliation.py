"""The stream's rows of a month against the curated lake's, field by field.

Rows that stand for trips are compared by trip_id, all three tables at once, so that a trip in the wrong table is told
as such; rows under file rules are compared by their place in the file.
"""

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Literal

import polars as pl

from chillflow.curation import REJECTS, TRIP_REJECTS
from chillflow.months import Month
from chillflow.trips import MONEY, RAW_COLUMNS, id_text, original_of

Kind = Literal["missing", "extra", "different"]
Why = Literal["incomplete trip", "dead letter"]
TABLES = ("trips", "quarantine", "adjustments")
SAMPLE = 20

FILE_REASONS = tuple(rule.name for rule in REJECTS if rule not in TRIP_REJECTS)
"""Rules that are judged where the file is read: their rows stand for no trip."""

_VALUES = [name for name in RAW_COLUMNS if name != "service"]
_SPECIAL: dict[str, Any] = {
    "trip_id": pl.UInt128,
    "source_row": pl.Int64,
    "pickup_at": pl.Datetime("us"),
    "dropoff_at": pl.Datetime("us"),
    "trip_distance": pl.Float64,
    **dict.fromkeys(("table", "store_and_fwd", "request_source", "raw", "reason", "unrepresentable"), pl.String),
}
BY_TRIP, BY_ROW = (
    {name: _SPECIAL.get(name, pl.Int32) for name in names}
    for names in (
        ("trip_id", "table", *_VALUES, "flags", "raw", "reason"),
        ("source_row", "table", "trip_id", *_VALUES, "unrepresentable", "reason"),
    )
)
"""The columns that are compared, the key first, in the kernels' form (money in cents). One slice is of one service."""


@dataclass(frozen=True)
class Difference:
    """A row that only one side has, or whose `columns` differ: name -> (the lake's value, the stream's), as text.

    `key` is a trip's id or `row N` of the file. `why` explains it: the trip is incomplete, or dead letters bear its
    key.
    """

    kind: Kind
    table: str
    key: str
    columns: dict[str, tuple[str | None, str | None]]
    why: Why | None = None


@dataclass(frozen=True)
class Tally:
    """Rows of a table: what each side has, and how they differ. lake = same + missing + different."""

    lake: int = 0
    stream: int = 0
    same: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0
    explained: int = 0

    def plus(self, other: "Tally") -> "Tally":
        return Tally(*(mine + more for mine, more in zip(self.values, other.values, strict=True)))

    @property
    def values(self) -> tuple[int, ...]:
        return self.lake, self.stream, self.same, self.missing, self.extra, self.different, self.explained

    @property
    def differences(self) -> int:
        return self.missing + self.extra + self.different


@dataclass(frozen=True)
class Findings:
    """What became of a slice, or of a month: tallies by table, how often each column differs, some of the differences.

    `lost` counts rows of the lake that the stream has nowhere, not even as incomplete trips.
    """

    tables: dict[str, Tally] = field(default_factory=lambda: dict.fromkeys(TABLES, Tally()))
    columns: Counter[str] = field(default_factory=Counter)
    sample: tuple[Difference, ...] = ()
    lost: int = 0

    @property
    def total(self) -> Tally:
        total = Tally()
        for tally in self.tables.values():
            total = total.plus(tally)
        return total

    def plus(self, other: "Findings") -> "Findings":
        tables = {name: tally.plus(other.tables[name]) for name, tally in self.tables.items()}
        sample = chosen((*self.sample, *other.sample))
        return Findings(tables, self.columns + other.columns, sample, self.lost + other.lost)


@dataclass(frozen=True)
class Compared:
    """A slice, compared: frames of the rows that only one side has, and of both sides' rows that differ.

    In `different`, the stream's columns end in `:stream`, and `differs` lists the columns concerned.
    """

    key: str
    lake: pl.DataFrame
    stream: pl.DataFrame
    missing: pl.DataFrame
    extra: pl.DataFrame
    different: pl.DataFrame

    @property
    def agrees(self) -> bool:
        return not (len(self.missing) or len(self.extra) or len(self.different))


def compare(lake: pl.DataFrame, stream: pl.DataFrame) -> Compared:
    """Compares two frames with the columns BY_TRIP or BY_ROW; nulls are equal, and so are NaN and NaN.

    A key that one side has twice is that often extra or missing.
    """
    key = lake.columns[0]
    (mine, mine_again), (theirs, theirs_again) = (_once(_readable(frame), key) for frame in (lake, stream))
    missing = pl.concat([mine.join(theirs, on=key, how="anti", nulls_equal=True), mine_again])
    extra = pl.concat([theirs.join(mine, on=key, how="anti", nulls_equal=True), theirs_again])
    both = mine.join(theirs, on=key, how="inner", suffix=":stream", nulls_equal=True)
    elsewhere = pl.col("table") != pl.col("table:stream")
    names = [name for name in lake.columns if name not in (key, "table")]
    unequal = {name: ~elsewhere & pl.col(name).ne_missing(pl.col(f"{name}:stream")) for name in names}
    different = both.filter(elsewhere | pl.any_horizontal(*unequal.values()))
    marks = [pl.when(when).then(pl.lit(name)) for name, when in {"table": elsewhere, **unequal}.items()]
    different = different.with_columns(differs=pl.concat_list(marks).list.drop_nulls())
    return Compared(key, lake, stream, missing, extra, different)


def findings(compared: Compared, explained: Mapping[Why, pl.Series] | None = None, sample: int = SAMPLE) -> Findings:
    """Counts of a slice. `explained` are the ids, reversal bit cleared, that explain a difference, by why they do."""
    frames: dict[Kind, pl.DataFrame] = {
        "missing": compared.missing, "extra": compared.extra, "different": compared.different
    }  # fmt: skip
    marked = {kind: _explained(frame, compared.key, explained or {}) for kind, frame in frames.items()}
    count: dict[str, Counter[str]] = {
        "lake": _by_table(compared.lake),
        "stream": _by_table(compared.stream),
        "explained": Counter(),
    }
    for kind, frame in marked.items():
        count[kind] = _by_table(frame)
        count["explained"] += _by_table(frame.filter(pl.col("why").is_not_null()))
    tables = {
        table: Tally(
            count["lake"][table],
            count["stream"][table],
            count["lake"][table] - count["missing"][table] - count["different"][table],
            *(count[name][table] for name in ("missing", "extra", "different", "explained")),
        )
        for table in TABLES
    }
    columns = Counter(dict(marked["different"]["differs"].explode().drop_nulls().value_counts().iter_rows()))
    shown = chosen(
        (found for kind, frame in marked.items() for found in _sample(kind, frame, compared.key, sample)), sample
    )
    lost = marked["missing"].filter(pl.col("why").ne_missing("incomplete trip"))
    return Findings(tables, columns, shown, len(lost))


def chosen(differences: Iterable[Difference], limit: int = SAMPLE) -> tuple[Difference, ...]:
    """At most `limit` of the differences: those that nothing explains first, of every sort some."""
    sorts: dict[tuple[bool, str, str, tuple[str, ...]], list[Difference]] = {}
    for found in differences:
        columns = tuple(found.columns) if found.kind == "different" else ()
        sorts.setdefault((found.why is not None, found.table, found.kind, columns), []).append(found)
    picked: list[Difference] = []
    for explained in (False, True):
        rounds = zip_longest(*(found for (why, *_), found in sorts.items() if why is explained))
        picked += [found for some in rounds for found in some if found is not None]
    return tuple(picked[:limit])


@dataclass(frozen=True)
class Account:
    """Law 1 of the stream: rows_in = trips + quarantined + adjustments + incomplete + missing.

    `rows_in` is what the replay read; None where no replay recorded the month.
    """

    rows_in: int | None
    trips: int
    quarantined: int
    adjustments: int
    incomplete: int
    missing: int

    @property
    def accounted(self) -> int:
        return self.trips + self.quarantined + self.adjustments + self.incomplete + self.missing

    @property
    def adds_up(self) -> bool:
        return self.rows_in is None or self.rows_in == self.accounted


def by_trip(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows of `tables` (kernels' form, by name) that stand for trips, as BY_TRIP."""
    return pl.concat([pl.DataFrame(schema=BY_TRIP), *(_formed(name, frame, BY_TRIP) for name, frame in tables.items())])


def by_row(quarantine: pl.DataFrame) -> pl.DataFrame:
    """Rows of `quarantine` (kernels' form) that file rules rejected, as BY_ROW."""
    return _formed("quarantine", quarantine, BY_ROW)


def _formed(table: str, frame: pl.DataFrame, schema: Mapping[str, Any]) -> pl.DataFrame:
    if "reason" in frame.columns:
        of_file = pl.col("reason").is_in(FILE_REASONS)
        frame = frame.filter(of_file if schema is BY_ROW else ~of_file)
    given = frame.with_columns(table=pl.lit(table))
    return given.select(
        (pl.col(name) if name in given.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in schema.items()
    )


def pickups(month: Month, parts: int) -> list[tuple[dt.datetime, dt.datetime]]:
    """The month's pickups in slices of equal length, whole seconds."""
    length = (month.next.start - month.start) // parts
    starts = [(month.start + number * length).replace(microsecond=0) for number in range(parts)]
    return list(zip(starts, [*starts[1:], month.next.start], strict=True))


def ranges(rows: int, parts: int) -> Iterator[tuple[int, int]]:
    """A file's rows in slices; the last one has no end."""
    step = max(1, -(-rows // parts))
    starts = [*range(0, rows, step)] or [0]
    yield from zip(starts, [*starts[1:], 2**62], strict=True)


def _readable(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with JSON in one spelling: PostgreSQL keeps the values, not the text."""
    if "raw" not in frame.columns:
        return frame
    texts = frame["raw"].drop_nulls().unique().to_list()
    spelled = {text: json.dumps(json.loads(text, parse_int=float), sort_keys=True) for text in texts}
    return frame.with_columns(raw=pl.col("raw").replace(spelled)) if spelled else frame


def _once(frame: pl.DataFrame, key: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first row of each key, and the rows that repeat one."""
    if frame[key].n_unique() == len(frame):
        return frame, frame.clear()
    first = frame[key].is_first_distinct()
    return frame.filter(first), frame.filter(~first)


def _explained(frame: pl.DataFrame, key: str, explained: Mapping[Why, pl.Series]) -> pl.DataFrame:
    whys = [
        pl.when(original_of(pl.col("trip_id")).is_in(ids.implode())).then(pl.lit(why))
        for why, ids in explained.items()
        if key == "trip_id" and len(ids)
    ]
    return frame.with_columns(why=pl.coalesce(*whys) if whys else pl.lit(None, pl.String))


def _by_table(frame: pl.DataFrame) -> Counter[str]:
    return Counter(dict(frame["table"].value_counts().iter_rows()))


def _sample(kind: Kind, frame: pl.DataFrame, key: str, limit: int) -> Iterator[Difference]:
    """Some of the rows, of each sort."""
    sort = ["table", pl.col("why").is_null().alias("alone")]
    if kind == "different":
        sort.append(pl.col("differs").list.join(","))
    some = frame.filter(pl.int_range(pl.len()).over(sort) < limit)
    ids = id_text(some["trip_id"]).to_list() if len(some) else []
    for trip_id, row in zip(ids, some.iter_rows(named=True), strict=True):
        label = trip_id if key == "trip_id" else f"row {row['source_row']}"
        found = Difference(kind, row["table"], label, {}, row["why"])
        if kind == "different":
            pairs = {name: (_text(name, row[name]), _text(name, row[f"{name}:stream"])) for name in row["differs"]}
            yield replace(found, columns=pairs)
        else:
            reason = row["reason"]
            told = (reason, None) if kind == "missing" else (None, reason)
            yield replace(found, columns={"reason": told} if reason else {})


def _text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if name in MONEY:
        return f"{value / 100:.2f}"
    if name == "trip_id":
        return str(id_text(pl.Series("trip_id", [value], pl.UInt128))[0])
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)
