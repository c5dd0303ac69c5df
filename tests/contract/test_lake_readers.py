"""Other tools read the lake as docs/lake.md shows: the examples of that page are what runs here."""

import datetime as dt
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chillflow.stores.lake import Lake
from tests.lake_samples import publish, rows

PAGE = Path(__file__).parents[2] / "docs" / "lake.md"
TRIPS = rows("trips", 3000, seed=3)


@pytest.fixture(autouse=True)
def _lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lake in the current folder, as on the page, with leftovers that no reader may see."""
    monkeypatch.chdir(tmp_path)
    publish(Lake("lake"), {"trips": rows("trips", 10, seed=1)}, 1)
    publish(Lake("lake"), {"trips": TRIPS, "quarantine": rows("quarantine", 5)}, 2)


def example(title: str) -> str:
    """The block of code under a heading of the page."""
    found = re.search(rf"^### {title}\n.*?^```\w+\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{PAGE.name} has no example {title}"
    return found[1]


def python(title: str) -> Any:
    names: dict[str, Any] = {}
    exec(example(title), names)  # the page's own code
    return names["trips"]


def by_duckdb() -> list[dict[str, Any]]:
    database = duckdb.connect()
    database.execute(example("DuckDB"))
    read = database.sql("select * from trips")
    return [dict(zip(read.columns, row, strict=True)) for row in read.fetchall()]


def by_polars() -> list[dict[str, Any]]:
    return list(python("Polars").collect().to_dicts())


def by_pandas() -> list[dict[str, Any]]:
    frame = python("pandas").astype(object)
    return list(frame.where(frame.notna(), None).to_dict("records"))


def _comparable(value: Any) -> Any:
    if isinstance(value, bytes):
        return uuid.UUID(bytes=value)
    if isinstance(value, dt.datetime):
        return dt.datetime.fromisoformat(value.isoformat())
    return value


@pytest.mark.parametrize("reader", [by_duckdb, by_polars, by_pandas])
def test_every_value_is_read_as_it_was_written(reader: Callable[[], list[dict[str, Any]]]) -> None:
    written = TRIPS.to_pylist()
    read = [{name: _comparable(value) for name, value in row.items()} for row in reader()]
    assert read == written
    assert {type(row["total_amount"]) for row in read} == {Decimal, type(None)}


def test_the_files_say_nothing_that_an_older_arrow_would_not_know() -> None:
    for path in Path("lake").rglob("*.parquet"):
        meta = pq.read_metadata(path)
        assert meta.metadata is None
        group = meta.row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        assert columns["total_amount"].physical_type == "INT32"
        assert str(meta.schema.column(0).logical_type) == "UUID"
        used = {encoding for column in columns.values() for encoding in column.encodings}
        assert used <= {"PLAIN", "RLE", "RLE_DICTIONARY", "DELTA_BINARY_PACKED"}
        assert {column.compression for column in columns.values()} == {"ZSTD"}


def test_chillflows_own_reader() -> None:
    assert pa.concat_tables(python("ChillFlow")).equals(TRIPS)
