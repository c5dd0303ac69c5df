"""`chillflow synth`: months that look like the city's, with planted faults and the truth about them."""

from pathlib import Path

import click

from chillflow import console
from chillflow.months import parse_months


@click.command()
@click.argument("service", type=click.Choice(["yellow", "green"]))
@click.argument("months")
@click.option("--rows", type=click.IntRange(min=0), default=100_000, show_default=True, help="Rows a month.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="The same seed, the same files.")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to fill.")
@click.option(
    "--row-group-rows",
    type=click.IntRange(min=1, max=1_048_576),
    default=1_048_576,
    show_default=True,
    help="Rows in a row group; small ones make a small file look like a large one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the files as JSON.")
def synth(service: str, months: str, rows: int, seed: int, folder: Path, row_group_rows: int, as_json: bool) -> None:
    """Make TLC-shaped MONTHS of SERVICE (2019-01, 2019-01..2019-06 or a comma list) with planted faults.

    Beside each file stands its truth: what every row must become. Prints the paths of the files.
    """
    wanted = parse_months(months)

    from chillflow.synth import write_month
    from chillflow.synth.eras import era

    for month in wanted:
        era(service, month)
    made = []
    for month in wanted:
        console.say(f"{service} {month}: {rows:,} rows")
        made.append(write_month(service, month, rows, seed, folder, row_group_rows))
    if as_json:
        console.show_json(vars(one) for one in made)
        return
    for one in made:
        click.echo(one.path)
