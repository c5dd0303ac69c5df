"""`chillflow` starts fast: it knows its commands by name, and imports one when it is called."""

import subprocess
import sys

import click
import pytest

from chillflow.cli import COMMANDS, chillflow

HEAVY = ("duckdb", "numpy", "pandas", "polars", "psycopg", "pyarrow", "ray", "requests", "rich")


def test_help_lists_the_commands_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from chillflow.cli import chillflow\n"
        "chillflow(['--help'], standalone_mode=False)\n"
        f"print('loaded:', *(name for name in {HEAVY} if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *shown, loaded = done.stdout.splitlines()
    assert loaded == "loaded:"
    assert {line.split()[0] for line in shown if line.startswith("  ")} >= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_entry_is_a_command_with_help(name: str) -> None:
    command = chillflow.get_command(click.Context(chillflow), name)
    assert command is not None
    assert command.name == name
    assert command.help
    assert COMMANDS[name][1]
