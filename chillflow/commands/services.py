"""`chillflow up`, `down`, `status` and `psql`: the embedded services, and where they or external ones are."""

import json
import os
import sys
from dataclasses import asdict
from urllib.parse import unquote, urlsplit

import click

from chillflow import console
from chillflow.settings import Settings


@click.command()
def up() -> None:
    """Start the embedded services that do not run; those that CHILLFLOW_* variables name are used as they are."""
    from chillflow import local

    settings = Settings.read()
    external = _external(settings)
    wanted = frozenset(name for name in local.SERVICES if not external[name])
    for name in external:
        if name not in wanted:
            console.say(f"{name}: external, as the environment says")
    found = local.up(settings.home, settings.cpus, wanted, os.environ, console.say)
    if found.dashboard:
        console.say(f"Ray dashboard: {found.dashboard}")
    if found.postgres:
        console.say("query with `chillflow psql`, stop with `chillflow down`")


@click.command()
def down() -> None:
    """Stop the embedded services; their data stay in CHILLFLOW_HOME."""
    from chillflow import local

    local.down(Settings.read().home, console.say)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="one object with the addresses, for machines")
def status(as_json: bool) -> None:
    """Say what runs where. Exit code 1 if something that is expected does not run."""
    from chillflow import local

    settings = Settings.read()
    external = _external(settings)
    services = [
        {"service": one.service, "state": "external", "pid": None, "address": external[one.service], "log": None}
        if external[one.service]
        else asdict(one)
        for one in local.status(settings.home)
    ]
    if as_json:
        addresses = {str(one["service"]): one["address"] for one in services}
        dashboard = local.addresses(settings.home).dashboard
        click.echo(json.dumps(addresses | {"dashboard": dashboard, "services": services}, indent=2))
    else:
        for one in services:
            pid = f"  pid {one['pid']}" if one["pid"] else ""
            click.echo(f"{one['service']:10}{one['state']:10}{_without_password(str(one['address'] or ''))}{pid}")
    if any(one["state"] in ("stopped", "died") for one in services):
        sys.exit(1)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the warehouse; ARGUMENTS go to psql."""
    from chillflow.jobs.session import postgres_dsn
    from chillflow.local.postgres import binaries

    dsn = postgres_dsn(Settings.read())
    program = str(binaries() / "psql")
    os.environ["PGOPTIONS"] = "-c search_path=chillflow,public"
    parts = urlsplit(dsn)
    if parts.scheme and parts.password:
        os.environ["PGPASSWORD"] = unquote(parts.password)
        user, _, host = parts.netloc.rpartition("@")
        dsn = parts._replace(netloc=f"{user.partition(':')[0]}@{host}").geturl()
    os.execv(program, [program, "-d", dsn, *arguments])


def _external(settings: Settings) -> dict[str, str | None]:
    return {
        "postgres": settings.postgres_dsn,
        "redis": settings.redis_url,
        "kafka": settings.kafka_bootstrap,
        "ray": settings.ray_address,
    }


def _without_password(address: str) -> str:
    head, at, tail = address.rpartition("@")
    return f"{head.rpartition(':')[0]}:***@{tail}" if at else address
