"""Named queries: every SQL statement has a name and a place under chillflow/sql/queries.

A file holds statements, each below a line `-- name: NAME`. Comments say what a statement does. Words in braces are
identifiers or lists that the caller composes, %(words)s are values.
"""

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString, cast

from psycopg import sql

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def named_queries() -> dict[str, LiteralString]:
    """All statements by name; raises ValueError where a name is used twice."""
    found: dict[str, LiteralString] = {}
    folder = files("chillflow") / "sql" / "queries"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        parts = _NAME.split(file.read_text(encoding="utf-8"))
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if name in found:
                raise ValueError(f"two queries are named {name}")
            found[name] = cast(LiteralString, text.strip())
    return found


def query(name: str, /, **parts: sql.Composable) -> sql.Composed:
    """The statement of that name, words in braces replaced by `parts`."""
    text = named_queries()[name]
    return sql.SQL(text).format(**parts) if parts else sql.Composed([sql.SQL(text)])
