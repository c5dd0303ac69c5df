"""The migrate job: the warehouse's schema and zones, before everything that uses them."""

import time
from collections.abc import Callable

import click

from chillflow import console
from chillflow.errors import SchemaTooOld, ServiceDown
from chillflow.jobs import session
from chillflow.jobs.schema import prepare
from chillflow.progress import Reporter
from chillflow.settings import Settings
from chillflow.stores.warehouse import Warehouse

PAUSE = 1.0


@click.command()
@click.option("--wait", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="for a warehouse that is not up")
@click.option("--check", is_flag=True, help="change nothing; with --wait, until another one has brought it up to date")
def migrate(wait: float, check: bool) -> None:
    """Bring the warehouse's schema up to date. Safe to run again, and beside others."""
    dsn = session.postgres_dsn(Settings.read())
    with Reporter() as reporter:
        _patiently((lambda: _require(dsn)) if check else (lambda: prepare(dsn, reporter)), wait, reporter.say)
        reporter.say("warehouse: its schema is up to date")


def _require(dsn: str) -> None:
    """Raises SchemaTooOld, SchemaTooNew and ServiceDown."""
    with Warehouse(dsn) as warehouse:
        warehouse.months()


def _patiently(act: Callable[[], None], seconds: float, say: Callable[[str], None]) -> None:
    """Tries again what fails for want of a service or of a migration; says once why it waits."""
    deadline, said = time.monotonic() + seconds, False
    while True:
        try:
            return act()
        except (ServiceDown, SchemaTooOld) as error:
            if time.monotonic() + PAUSE > deadline:
                raise
            if not said:
                say(f"{error}; waiting up to {seconds:.0f} s for it")
            said = True
        time.sleep(PAUSE)


def main() -> None:
    console.run(migrate, "chillflow migrate")


if __name__ == "__main__":
    main()
