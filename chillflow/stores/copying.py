"""Arrow tables into PostgreSQL by binary COPY; the encoder works ahead while the server takes in what it was sent."""

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from typing import Any, LiteralString, TypeVar

import psycopg
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder
from pgpq.encoders import StringEncoderBuilder
from pgpq.schema import Jsonb
from psycopg import sql

ROWS = 2_048
"""Rows encoded at a time. The encoder holds the interpreter's lock meanwhile, so that this must take less time than the
server needs for what the socket's buffer holds: else the server waits. Measured in docs/decisions/0002-copy.md."""

Item = TypeVar("Item")
_JSON = {"raw"}


def copy_in(
    connection: psycopg.Connection[Any],
    table: sql.Identifier,
    schema: pa.Schema,
    tables: Iterable[pa.Table],
    options: LiteralString = "format binary",
) -> int:
    """Copies the tables' rows (columns of `schema`) into the columns of these names; returns the rows stored.

    `tables` is consumed one by one, in another thread.
    """
    with connection.cursor() as cursor:
        statement = _statement(table, schema, options)
        with closing(ahead(encoded(schema, ahead(tables)))) as chunks, cursor.copy(statement) as copy:
            for chunk in chunks:
                copy.write(chunk)
        return cursor.rowcount


def copy_rows(connection: psycopg.Connection[Any], table: sql.Identifier, schema: pa.Schema, rows: pa.Table) -> int:
    """As copy_in, for a batch that is there already and small: no threads, which would cost more than they spare."""
    with connection.cursor() as cursor:
        with cursor.copy(_statement(table, schema, "format binary")) as copy:
            copy.write(b"".join(encoded(schema, [rows])))
        return cursor.rowcount


def copy_text(connection: psycopg.Connection[Any], table: sql.Identifier, schema: pa.Schema, rows: str) -> int:
    """Copies rows in PostgreSQL's text format, columns of `schema`; returns the rows stored."""
    with connection.cursor() as cursor:
        with cursor.copy(_statement(table, schema, "format text")) as copy:
            copy.write(rows)
        return cursor.rowcount


def ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The items, the next one being made in a thread while the caller uses the present one."""
    iterator = iter(items)
    with ThreadPoolExecutor(1, "ahead") as thread:
        following = thread.submit(next, iterator, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, iterator, None)
            yield item


def encoded(schema: pa.Schema, tables: Iterable[pa.Table]) -> Iterator[bytes]:
    """The tables as PostgreSQL's binary COPY format, in chunks."""
    plain, builders = _plain(schema)
    encoder = ArrowToPostgresBinaryEncoder.new_with_encoders(plain, builders)
    yield encoder.write_header()
    for table in tables:
        for batch in table.select(schema.names).cast(plain).to_batches(max_chunksize=ROWS):
            yield encoder.write_batch(batch)
    yield encoder.finish()


@cache
def _plain(schema: pa.Schema) -> tuple[pa.Schema, dict[str, Any]]:
    """The schema without extension types, which the encoder does not know, and how its columns are encoded."""
    plain = pa.schema([(field.name, getattr(field.type, "storage_type", field.type)) for field in schema])
    return plain, {field.name: _builder(field) for field in plain}


def _statement(table: sql.Identifier, schema: pa.Schema, options: LiteralString) -> sql.Composed:
    return sql.SQL("copy {} ({}) from stdin ({})").format(table, _columns(schema), sql.SQL(options))


@cache
def _columns(schema: pa.Schema) -> sql.SQL:
    columns = sql.SQL(", ").join(map(sql.Identifier, schema.names)).as_string()
    return sql.SQL(columns)


def _builder(field: Any) -> Any:
    if field.name in _JSON:
        return StringEncoderBuilder.new_with_output(field, Jsonb())
    return ArrowToPostgresBinaryEncoder.infer_encoder(field)
