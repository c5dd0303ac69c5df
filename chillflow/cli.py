"""`chillflow`: each command is imported only when it is called."""

import importlib
from typing import NoReturn

import click

from chillflow import __version__, console
from chillflow.errors import NoSuchJob

COMMANDS = {
    "up": ("chillflow.commands.services", "start the embedded services and the local Ray head"),
    "down": ("chillflow.commands.services", "stop them; their data stays"),
    "status": ("chillflow.commands.services", "what runs where"),
    "doctor": ("chillflow.commands.doctor", "what could keep it from working here, and the remedy of each"),
    "fetch": ("chillflow.commands.fetch", "download months, verified and resumable"),
    "synth": ("chillflow.commands.synth", "make TLC-shaped months with planted faults and their truth"),
    "backfill": ("chillflow.jobs.backfill", "curate, load and aggregate months as one job"),
    "curate": ("chillflow.jobs.curate", "months of Parquet to the lake: trips, quarantine, adjustments"),
    "load": ("chillflow.jobs.load", "curated months from the lake to PostgreSQL"),
    "aggregate": ("chillflow.jobs.aggregate", "zone-hour KPIs: of months, or of what was touched"),
    "reconcile": ("chillflow.jobs.reconcile", "the stream's rows against the curated lake's, field by field"),
    "replay": ("chillflow.jobs.replay", "months as events, in the order of their times, to the topic"),
    "assemble": ("chillflow.jobs.assemble", "events to trips in PostgreSQL, exactly once, by a pool of Ray actors"),
    "scale": ("chillflow.commands.pool", "how many assemblers there are to be, while they run"),
    "partitions": ("chillflow.commands.pool", "who assembles what, how far, how much waits"),
    "submit": ("chillflow.commands.submit", "any of the jobs on a Ray cluster, followed to its end"),
    "jobs": ("chillflow.commands.submit", "submitted jobs: list, follow, stop"),
    "report": ("chillflow.jobs.report", "the KPIs as a page of maps, charts and tables, without a network"),
    "kpis": ("chillflow.commands.kpis", "trips, money and speed by place and time"),
    "months": ("chillflow.commands.look", "what became of each month"),
    "dead-letters": ("chillflow.commands.leftovers", "records that could not be read, and why"),
    "incomplete": ("chillflow.commands.leftovers", "trips that lack an event"),
    "redrive": ("chillflow.jobs.redrive", "repaired dead letters back to the log"),
    "psql": ("chillflow.commands.services", "psql on the warehouse"),
    "trip": ("chillflow.commands.look", "where a trip is and why, and the revisions of its events"),
}


class Commands(click.Group):
    """A group that knows its commands by name and help alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def job(self, name: str) -> click.Command:
        """The job of this name, which `chillflow submit` can run elsewhere; raises NoSuchJob."""
        jobs = tuple(each for each, (module, _) in COMMANDS.items() if module == f"chillflow.jobs.{each}")
        if name not in jobs:
            raise NoSuchJob(name, jobs)
        found = self.get_command(click.Context(self), name)
        assert found is not None
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="chillflow")
def chillflow() -> None:
    """NYC taxi trip records into complete, curated trips and zone-hour KPIs."""


def main() -> NoReturn:
    console.run(chillflow, "chillflow")


if __name__ == "__main__":
    main()
