"""The table of measures in docs/kpis.md: `python -m chillflow.kpi_page docs/kpis.md` writes it anew."""

import sys
from pathlib import Path

from chillflow.kpis import MEASURES

HEAD = "| measure | unit | of | meaning | in SQL |"


def table() -> str:
    """The measures as rows of Markdown."""
    rows = [f"| `{one.name}` | {one.unit} | {one.at} | {one.meaning} | `{one.sql}` |" for one in MEASURES]
    return "\n".join([HEAD, "|---|---|---|---|---|", *rows, ""])


def page(text: str) -> str:
    """A page with its table of measures as it must be."""
    before, head, rest = text.partition(HEAD)
    if not head:
        raise SystemExit(f"the page has no table that begins with {HEAD}")
    return before + table() + rest[rest.index("\n\n") + 1 :]


def main() -> None:
    path = Path(sys.argv[1])
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
