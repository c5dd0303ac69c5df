"""The arguments that the jobs share."""

import click

from chillflow.months import parse_months

TOPIC = "trip-events"


class Place(click.types.StringParamType):
    """A folder, or an address of one."""

    name = "place"


class Listening(click.ParamType[tuple[str, int]]):
    """Where to listen: a port of loopback, or of the host that is named."""

    name = "address"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        host, _, port = value.rpartition(":")
        if not port.isdecimal() or not 0 < int(port) < 65_536:
            self.fail(f"{value!r} is no [HOST:]PORT, such as 9105 or 0.0.0.0:9105", param, ctx)
        return host or "127.0.0.1", int(port)


service = click.argument("service", type=click.Choice(["yellow", "green"]))
months = click.argument("months", type=parse_months, metavar="MONTHS")
source = click.option(
    "--source", type=Place(), metavar="DIR|URL", help="where the Parquet files are [default: the TLC's site]"
)
force = click.option("--force", is_flag=True, help="do it again although nothing changed")
as_json = click.option("--json", "as_json", is_flag=True, help="a list of objects, for machines")
group = click.option("--group", default="chillflow", show_default=True, help="the group of assemblers")
