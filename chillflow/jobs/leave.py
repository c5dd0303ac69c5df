"""Empties this machine before it goes: what assembles here lets go first. A pod's preStop hook runs it."""

import click

from chillflow import console
from chillflow.errors import StillThere
from chillflow.jobs import session
from chillflow.roster import Roster
from chillflow.settings import Settings


@click.command()
@click.option("--within", type=click.FloatRange(0), default=75.0, show_default=True, metavar="SECONDS")
def leave(within: float) -> None:
    """Have the assemblers and coordinators of this machine commit what they have read, and let go.

    They stay as they are then, without work, until the machine ends them; others take over meanwhile.
    """
    left = Roster(session.roster(Settings.read())).empty(within, console.say)
    if left:
        raise StillThere(tuple(sorted(left)), within)


def main() -> None:
    console.run(leave, "chillflow leave")


if __name__ == "__main__":
    main()
