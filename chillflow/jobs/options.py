"""The arguments that the jobs share."""

from typing import Any

import click

from chillflow.months import parse_months

service = click.argument("service", type=click.Choice(["yellow", "green"]))


class _Months(click.ParamType):
    name = "months"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return parse_months(value) if isinstance(value, str) else value


months = click.argument("months", type=_Months())
source = click.option("--source", metavar="DIR|URL", help="where the Parquet files are [default: the TLC's site]")
force = click.option("--force", is_flag=True, help="do it again although nothing changed")
as_json = click.option("--json", "as_json", is_flag=True, help="a list of objects, for machines")
