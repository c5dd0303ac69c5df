"""Curation: RULES, and curate() from a block of raw rows to trips, quarantine and adjustments.

The rules are those of one table, in order; a row's reason is the first reject rule that matches. All of it is
block-wise and order-free: how a month is split does not change the result, given the pairs that cross the blocks (see
pairs.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from chillflow.fixes import FIXED, HOUR, before_fixes, fix
from chillflow.months import Month
from chillflow.trips import MONEY, RAW_COLUMNS, id_key, is_reversal, no_ids, original_of, trip_id

VERSION = 1
"""Raised whenever a rule, a fix or the id changes, so that months curated before are known to be older."""

DAY = 86_400

Scope = Literal["file", "pair", "trip"]
Action = Literal["reject", "adjust", "flag"]


@dataclass(frozen=True)
class Rule:
    """One line of the table: `when` is a Polars expression over raw columns and those that `prepare` adds.

    `usual` is the share in % of rows (of kept rows for flags) that real months show, yellow and green.
    """

    number: str
    name: str
    scope: Scope
    action: Action
    when: pl.Expr
    why: str
    usual: tuple[float, float] = (0.0, 0.0)


col = pl.col
_flex = (col("payment_type") == 0) | col("payment_type").is_null()
_no_passengers = col("passenger_count").is_null()
_vendor_1 = col("vendor_id") == 1
_green = col("service") == "green"
_excess = (
    col("total_amount").cast(pl.Int64)
    - pl.sum_horizontal(col(name).cast(pl.Int64) for name in MONEY if name != "total_amount")
    + pl.when(_vendor_1).then(col("congestion_surcharge")).otherwise(0).fill_null(0)
    + pl.when(_vendor_1 & _green).then(col("improvement_surcharge")).otherwise(0).fill_null(0)
)
_hidden_surcharge = pl.when(_green).then(275).otherwise(250)
_sums_up = (col("excess").abs() <= 1) | (
    _flex & _no_passengers & col("congestion_surcharge").is_null() & ((col("excess") - _hidden_surcharge).abs() <= 1)
)

RULES: tuple[Rule, ...] = (
    Rule("1", "ts_missing", "file", "reject",
         col("pickup_at").is_null() | col("dropoff_at").is_null(),
         "a trip without its times belongs to no hour"),
    Rule("2", "pickup_outside_file_month", "file", "reject",
         (col("pickup_at") < col("month_start")) | (col("pickup_at") >= col("month_end")),
         "meters with a wrong clock; another month's file may hold the same trip", (.004, .004)),
    Rule("2b", "duplicate", "pair", "reject",
         col("seen_before"),
         "the same natural key again: all but the first in file order"),
    Rule("2c", "value_invalid", "file", "reject",
         col("total_amount").is_null() | col("unrepresentable").is_not_null() | ~col("trip_distance").is_finite(),
         "no total, a distance that is no number, or a value that its column cannot hold (an amount of ten digits)"),
    Rule("3", "zone_invalid", "trip", "reject",
         ~col("pickup_zone_id").is_between(1, 265).fill_null(False)
         | ~col("dropoff_zone_id").is_between(1, 265).fill_null(False),
         "zones are numbered 1 to 265"),
    Rule("4", "reversal", "trip", "adjust",
         is_reversal(col("trip_id")),
         "a negative total takes an earlier trip back", (.437, .327)),
    Rule("5", "reversed_original", "pair", "reject",
         col("reversed"),
         "a reversal took this trip back", (.43, .320)),
    Rule("6", "zero_total", "trip", "reject",
         col("total_amount") == 0,
         "nothing was charged", (.047, .073)),
    Rule("7", "nonpositive_duration", "trip", "reject",
         col("seconds") <= 0,
         "ended before it began, the autumn hour allowed for", (.202, .129)),
    Rule("8", "duration_over_24h", "trip", "reject",
         col("seconds") > DAY,
         "a meter left running", (.001, 0)),
    Rule("9", "no_movement", "trip", "reject",
         (col("trip_distance") == 0) & (col("seconds") < 60),
         "a meter switched on and off", (.568, 1.422)),
    Rule("10", "absurd_money", "trip", "reject",
         (col("total_amount") > 100_000) | (col("fare_amount") > 50_000),
         "more than $1000 in all or $500 of fare: typing errors", (.002, .002)),
    Rule("11", "impossible_speed", "trip", "reject",
         col("miles") * HOUR > 100.0 * col("seconds"),
         "faster than 100 mph", (.095, .249)),
    Rule("12", "bad_distance", "trip", "flag",
         col("trip_distance").is_not_null() & col("miles").is_null(),
         "below 0 or over 100 miles: an error of the meter; the distance becomes null", (.010, .080)),
    Rule("13", "dst_fallback", "trip", "flag",
         col("ends_at") != col("dropoff_at"),
         "the clock was set back during the trip; an hour is added to the dropoff", (.002, 0)),
    Rule("14", "long_duration", "trip", "flag",
         col("seconds") > 4 * HOUR,
         "left out of duration and speed measures", (.251, .386)),
    Rule("15", "zero_distance", "trip", "flag",
         (col("trip_distance") == 0) & (col("seconds") >= 60),
         "a meter without a distance", (1.21, 3.31)),
    Rule("16", "unknown_zone", "trip", "flag",
         col("pickup_zone_id").is_between(264, 265) | col("dropoff_zone_id").is_between(264, 265),
         "264 is unknown, 265 outside of New York", (1.78, .64)),
    Rule("17", "passenger_unknown", "trip", "flag",
         col("passenger_count").is_not_null() & col("passengers").is_null(),
         "0 or more than 6: not entered by the driver; the count becomes null", (2.84, .88)),
    Rule("18", "flex_fare", "trip", "flag",
         _flex & _no_passengers,
         "dispatched by an app at a price agreed before", (6.48, 6.14)),
    Rule("19", "total_mismatch", "trip", "flag",
         ~_sums_up,
         "the amounts do not sum up to the total, by the vendor's way of counting", (.44, .30)),
    Rule("20", "unknown_code", "trip", "flag",
         ~col("vendor_id").is_in([1, 2, 6, 7])
         | ~(col("rate_code").is_between(1, 6) | (col("rate_code") == 99))
         | ~col("payment_type").is_between(0, 6),
         "a vendor, rate code or payment type that is not documented", (.49, 0)),
)  # fmt: skip

REJECTS = tuple(rule for rule in RULES if rule.action != "flag")
TRIP_REJECTS = tuple(rule for rule in REJECTS if rule.scope == "trip" or rule.name == "reversed_original")
"""What is left to reject once a file's own rules have been judged."""

FILE_REJECTS = tuple(rule for rule in REJECTS if rule not in TRIP_REJECTS)
"""What is judged where a file is read: no event is sent for a row that these reject."""

REVISIONS = ("started_revision", "ended_revision", "paid_revision")
FLAGS = {rule.name: 1 << bit for bit, rule in enumerate(rule for rule in RULES if rule.action == "flag")}
_REVERSAL, _REVERSED = (
    position for position, rule in enumerate(REJECTS, 1) if rule.name in ("reversal", "reversed_original")
)
_REASONS = pl.Series("reason", [None, *(rule.name for rule in REJECTS)])
"""By verdict."""
_ANY_FIX = sum(FLAGS[rule] for rule in FIXED)
_FIXED = {column: fixed for column, fixed in FIXED.values()}
_BEFORE_FIXES = before_fixes(FLAGS)
_UNKNOWN = {"source_row": pl.lit(None, pl.Int64), "unrepresentable": pl.lit(None, pl.String)}
_TO_KEEP = ["trip_id", *RAW_COLUMNS, *_FIXED.values(), "seconds", "excess"]
_NEEDED = [*RAW_COLUMNS, "source_row", "unrepresentable"]


@dataclass(frozen=True)
class Pairs:
    """What other blocks of the month know of this one: ids met earlier in the file, and ids taken back elsewhere."""

    seen: pl.Series = field(default_factory=no_ids)
    originals: pl.Series = field(default_factory=no_ids)


NO_PAIRS = Pairs()


@dataclass(frozen=True)
class Curated:
    """A block's result: three frames (columns of TRIPS, QUARANTINE, ADJUSTMENTS), counts per rule, and its keys.

    Trips are sorted by pickup, the rest is in file order.

    `keys` are the sorted 64-bit keys of the ids that pair rules look at, `originals` the ids that the block's
    reversals name. `rows_in` = rows of the three frames.
    """

    trips: pl.DataFrame
    quarantine: pl.DataFrame
    adjustments: pl.DataFrame
    counts: dict[str, int]
    keys: pl.Series
    originals: pl.Series
    rows_in: int


@dataclass(frozen=True)
class Judged:
    """A block by the file's own rules: rows that they leave (columns of RAW, trip_id) and reject (columns
    of QUARANTINE), and its keys as in Curated."""

    left: pl.DataFrame
    rejected: pl.DataFrame
    keys: pl.Series


def curate(raw: pl.DataFrame, month: Month, pairs: Pairs = NO_PAIRS) -> Curated:
    """Settles every row of a block of the month's file (columns of RAW) by RULES. Deterministic and pure."""
    frame = prepare(raw.select(_NEEDED).with_columns(trip_id(raw)), month)
    frame, keys = _mark_seen(frame, pairs.seen)
    return _settled(frame.with_columns(verdict=_VERDICT), pairs.originals, keys)


def judge_file(raw: pl.DataFrame, month: Month, pairs: Pairs = NO_PAIRS) -> Judged:
    """Judges a block's rows (columns of RAW) by the file's own rules alone."""
    frame = prepare(raw.select(_NEEDED).with_columns(trip_id(raw)), month)
    frame, keys = _mark_seen(frame, pairs.seen)
    verdicts = frame.select(verdict=verdict(FILE_REJECTS))["verdict"]
    rejected = verdicts > 0
    reasons = _REASONS.gather(verdicts.filter(rejected))
    frame = frame.select("trip_id", *_NEEDED)
    return Judged(frame.filter(~rejected), frame.filter(rejected).with_columns(reasons), keys)


def curate_trips(trips: pl.DataFrame, originals: pl.Series) -> Curated:
    """Settles trips that came one by one (raw columns and trip_id, each id once) by the rules for trips and pairs.

    `originals` are ids that reversals beside these trips take back. Columns of REVISIONS are carried along.
    """
    # In one query: batches of the stream are small, and each query has its price.
    plan = fix(trips.lazy()).with_columns(**_UNKNOWN, excess=_excess, reversed=pl.lit(False))
    return _settled(plan.with_columns(verdict=_TRIP_VERDICT, flags=_FLAGGED).collect(), originals, no_ids())


def _settled(frame: pl.DataFrame, taken_back: pl.Series, keys: pl.Series) -> Curated:
    # Columns by name and rows by mask: of the stream's small batches, each query would cost more than its work.
    carried = [name for name in REVISIONS if name in frame.columns]
    flagged = ["flags"] if "flags" in frame.columns else []
    originals = no_ids()
    if (reversals := frame["verdict"] == _REVERSAL).any():
        originals = pl.select(original_of(pl.lit(frame["trip_id"].filter(reversals)))).to_series()
    if len(originals) or len(taken_back):
        frame = frame.with_columns(verdict=_with_reversed(pl.concat([originals, taken_back])))
    verdicts = frame["verdict"]
    kept = keep(frame[_TO_KEEP + flagged + carried][_by_pickup(frame)])
    rejects = (verdicts > 0) & ~reversals
    rejected = _rows(frame[["trip_id", *_NEEDED, *carried]], rejects)
    reasons = _REASONS.gather(verdicts.filter(rejects))
    return Curated(
        trips=kept,
        quarantine=rejected.insert_column(1 + len(_NEEDED), reasons),
        adjustments=_rows(frame[["trip_id", *RAW_COLUMNS, "source_row", *carried]], reversals),
        counts=_count(verdicts, kept["flags"]),
        keys=keys,
        originals=originals,
        rows_in=len(frame),
    )


def _rows(frame: pl.DataFrame, which: pl.Series) -> pl.DataFrame:
    return frame.filter(which) if which.any() else frame.clear()


def prepare(frame: pl.DataFrame, month: Month | None = None) -> pl.DataFrame:
    """Adds what the rules read beside raw columns.

    Fixes come first: `miles` and `passengers` are null where rules 12 and 17 do not believe them, `ends_at` is the
    dropoff after rule 13, `seconds` the duration after it. `excess` is what the total exceeds its parts by, in cents.
    """
    if month is not None:
        frame = frame.with_columns(month_start=pl.lit(month.start), month_end=pl.lit(month.next.start))
    frame = fix(frame, month is None or month.number == 11)
    return frame.with_columns(excess=_excess, reversed=pl.lit(False))


def verdict(rules: Iterable[Rule]) -> pl.Expr:
    """The position in REJECTS (from 1) of the first of the rules that matches, 0 for none."""
    first = pl.lit(0, pl.UInt8)
    for rule in reversed(list(rules)):
        first = pl.when(rule.when).then(pl.lit(REJECTS.index(rule) + 1, pl.UInt8)).otherwise(first)
    return first


def keep(frame: pl.DataFrame) -> pl.DataFrame:
    """Prepared rows that no rule rejects, as trips: fixed, flagged, with the values before a fix in `raw`."""
    if "flags" not in frame.columns:
        frame = frame.with_columns(flags=_FLAGGED)
    fixed = frame["flags"] & _ANY_FIX != 0
    raw = pl.repeat(None, len(frame), dtype=pl.String, eager=True).alias("raw")
    if fixed.any():
        raw = raw.scatter(fixed.arg_true(), frame.filter(fixed).select(raw=_BEFORE_FIXES)["raw"])
    columns = [frame.get_column(_FIXED.get(name, name)).alias(name) for name in RAW_COLUMNS]
    carried = [frame.get_column(name) for name in REVISIONS if name in frame.columns]
    return pl.DataFrame([frame["trip_id"], *columns, frame["flags"], raw, *carried])


_VERDICT, _TRIP_VERDICT = verdict(REJECTS), verdict(TRIP_REJECTS)
_FLAGGED = pl.sum_horizontal(
    pl.when(rule.when).then(FLAGS[rule.name]).otherwise(0) for rule in RULES if rule.action == "flag"
).cast(pl.Int32)


def _mark_seen(frame: pl.DataFrame, seen: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
    """Adds `seen_before` for rule 2b; the keys are those of rows that rules 1 and 2 leave, sorted."""
    eligible = frame.select(when=~verdict(RULES[:2]).cast(pl.Boolean))["when"]
    ids = frame.select("trip_id").filter(eligible)
    keys = ids.select(id_key(col("trip_id")))["trip_id"].sort()
    if not len(seen) and not (keys == keys.shift()).any():
        return frame.with_columns(seen_before=pl.lit(False)), keys
    later = ids.select(when=~col("trip_id").is_first_distinct() | col("trip_id").is_in(seen.implode()))["when"]
    rows = pl.Series(eligible.arg_true()).filter(later)
    return frame.with_columns(seen_before=pl.int_range(pl.len()).cast(rows.dtype).is_in(rows.implode())), keys


def _with_reversed(originals: pl.Series) -> pl.Expr:
    """Verdicts that were found without rule 5, and now with it: a later rule gives way, an earlier one stands."""
    later = (col("verdict") == 0) | (col("verdict") > _REVERSED)
    return (
        pl.when(later & col("trip_id").is_in(originals.implode()))
        .then(pl.lit(_REVERSED, pl.UInt8))
        .otherwise("verdict")
    )


def _by_pickup(frame: pl.DataFrame) -> pl.Series:
    """The positions of the rows that no rule rejects, by pickup: one gather filters and sorts."""
    positions = (frame["verdict"] == 0).arg_true()
    return positions[frame["pickup_at"][positions].arg_sort()]


def _count(verdicts: pl.Series, flags: pl.Series) -> dict[str, int]:
    found = np.bincount(verdicts.to_numpy(), minlength=1 + len(REJECTS)).tolist()
    counts = {rule.name: found[position] for position, rule in enumerate(REJECTS, 1)}
    sets = [(value, count) for value, count in enumerate(np.bincount(flags.to_numpy()).tolist()) if count]
    counts |= {name: sum(count for value, count in sets if value & bit) for name, bit in FLAGS.items()}
    return {name: count for name, count in counts.items() if count}


def flag_names(flags: int) -> list[str]:
    """The names in a trip's flag set, by rule number."""
    return [name for name, bit in FLAGS.items() if flags & bit]
