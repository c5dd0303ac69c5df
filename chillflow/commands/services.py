"""`chillflow up`, `down`, `status` and `psql`: the embedded services, and where they or external ones are."""

import json
import os
import shlex
import sys
from dataclasses import asdict
from urllib.parse import urlsplit

import click

from chillflow import console
from chillflow.errors import NotRunning
from chillflow.settings import Settings, for_jobs


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
    found = local.up(settings.home, settings.cpus, wanted, os.environ, console.say, for_jobs())
    if found.dashboard:
        token = local.ray_access(settings.home)["RAY_AUTH_TOKEN_PATH"]
        console.say(f"Ray dashboard: {found.dashboard} (it asks for the token in {token})")
    if found.postgres:
        console.say("query with `chillflow psql`, stop with `chillflow down`")


@click.command()
def down() -> None:
    """Stop the embedded services; their data stay in CHILLFLOW_HOME."""
    from chillflow import local

    local.down(Settings.read().home, console.say)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="one object with the addresses, for machines")
@click.option(
    "--export", "exported", is_flag=True, help="what a shell sets for Ray's own programs to use the local head"
)
def status(as_json: bool, exported: bool) -> None:
    """Say what runs where. Exit code 1 if something that is expected does not run.

    After `eval "$(chillflow status --export)"`, `ray job submit`, `ray status` and `ray.init()` use the local Ray head.
    """
    from chillflow import local

    settings = Settings.read()
    if exported:
        _export(settings)
        return
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
        token = local.ray_access(settings.home)["RAY_AUTH_TOKEN_PATH"] if dashboard else None
        click.echo(json.dumps(addresses | {"dashboard": dashboard, "ray_token": token, "services": services}, indent=2))
    else:
        for one in services:
            pid = f"  pid {one['pid']}" if one["pid"] else ""
            click.echo(f"{one['service']:10}{one['state']:10}{_shown(one['service'], one['address'])}{pid}")
    if any(one["state"] in ("silent", "stopped", "died") for one in services):
        sys.exit(1)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the warehouse; ARGUMENTS go to psql."""
    from chillflow.jobs.session import postgres_dsn
    from chillflow.local.postgres import binaries
    from chillflow.stores.postgres import without_password

    dsn = postgres_dsn(Settings.read())
    program = str(binaries() / "psql")
    os.environ["PGOPTIONS"] = "-c search_path=chillflow,public"
    shown, password = without_password(dsn)
    if password:
        os.environ["PGPASSWORD"] = password  # arguments can be seen by every user of the machine
    os.execv(program, [program, "-d", shown, *arguments])


def _export(settings: Settings) -> None:
    from chillflow import local

    found = local.addresses(settings.home)
    if found.ray is None or found.dashboard is None:
        raise NotRunning("Ray", "CHILLFLOW_RAY_ADDRESS")
    given = {"RAY_ADDRESS": found.ray, "RAY_API_SERVER_ADDRESS": found.dashboard, **local.ray_access(settings.home)}
    for name, value in given.items():
        click.echo(f"export {name}={shlex.quote(value)}")


def _external(settings: Settings) -> dict[str, str | None]:
    return {
        "postgres": settings.postgres_dsn,
        "redis": settings.redis_url,
        "kafka": settings.kafka_bootstrap,
        "ray": settings.ray_address,
    }


def _shown(service: object, address: object) -> str:
    """An address without what may be secret in it: user, password and parameters."""
    from chillflow.stores import postgres

    if not address:
        return ""
    if service == "postgres":
        return postgres.address(str(address))
    parts = urlsplit(str(address))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
