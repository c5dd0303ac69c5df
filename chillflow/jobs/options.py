"""The arguments that the jobs share."""

import click

from chillflow.months import parse_months

TOPIC = "trip-events"


class Place(click.types.StringParamType):
    """A folder, or an address of one."""

    name = "place"


service = click.argument("service", type=click.Choice(["yellow", "green"]))
months = click.argument("months", type=parse_months, metavar="MONTHS")
source = click.option(
    "--source", type=Place(), metavar="DIR|URL", help="where the Parquet files are [default: the TLC's site]"
)
force = click.option("--force", is_flag=True, help="do it again although nothing changed")
as_json = click.option("--json", "as_json", is_flag=True, help="a list of objects, for machines")
group = click.option("--group", default="chillflow", show_default=True, help="the group of assemblers")
