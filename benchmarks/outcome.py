"""What a benchmark found, as a line of the table that `make bench` prints."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table

from chillflow import console


@dataclass(frozen=True)
class Outcome:
    """A figure of ours beside its peer's, their ratio, and what it should be."""

    what: str
    ours: str
    goal: str
    peer: str = ""
    ratio: float | None = None


def show(outcomes: Iterable[Outcome]) -> None:
    """Prints the table."""
    table = Table("what", "chillflow", "peer", "ratio", "goal", box=None, pad_edge=False)
    for outcome in outcomes:
        ratio = "" if outcome.ratio is None else f"{outcome.ratio:.2f}"
        table.add_row(outcome.what, outcome.ours, outcome.peer, ratio, outcome.goal)
    console.screen().print(table)
