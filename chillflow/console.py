"""How commands end: one sentence on stderr and an exit code that scripts can trust."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

from chillflow import __version__
from chillflow.errors import ChillFlowError, OtherChillFlow

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 200


def run(command: click.Command, name: str) -> NoReturn:
    """Runs a command line and exits: 0 done, 1 failed, 2 wrong usage, 3 data differ."""
    try:
        _check_version(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
        command.main(prog_name=name)
    except ChillFlowError as error:
        say(f"{name}: {error}")
        sys.exit(error.exit_code)
    sys.exit(0)


def _check_version(job: str) -> None:
    """`job` is what Ray tells the entrypoint of a submitted job of it; raises OtherChillFlow."""
    theirs = json.loads(job).get("metadata", {}).get("chillflow", __version__)
    if theirs != __version__:
        raise OtherChillFlow(__version__, theirs)


def say(text: str) -> None:
    """Talk goes to stderr; stdout is for data."""
    click.echo(text, err=True)


def show_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Prints rows as a JSON list of objects."""
    click.echo(json.dumps([dict(row) for row in rows], indent=2, default=str))


def screen() -> "Console":
    """Where tables are printed: as wide as the terminal, without one as wide as they are. Text is shown as it is."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDE
    return Console(soft_wrap=width is not None, highlight=False, markup=False, width=width)
