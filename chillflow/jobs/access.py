"""Who may use a Ray cluster shows its token: the embedded head's own, elsewhere the one that Ray's variables name."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chillflow import local
from chillflow.errors import NotRunning
from chillflow.settings import Settings

_IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it for the entrypoint of a job, beside all that it needs to get in."""


@dataclass(frozen=True)
class Place:
    """An address of a cluster, and whether it is the embedded head."""

    address: str
    embedded: bool


def cluster(settings: Settings) -> Place:
    """Where drivers connect: the cluster of the Ray job this is, the given one, or the local head; raises NotRunning.

    RAY_ADDRESS may name the jobs API, for `ray job submit`: then it says nothing to a driver.
    """
    given = os.environ.get("RAY_ADDRESS", "")
    found = settings.ray_address if not given or ("://" in given and not given.startswith("ray://")) else given
    embedded = local.addresses(settings.home).ray
    if not (found or embedded):
        raise NotRunning("Ray", "CHILLFLOW_RAY_ADDRESS")
    return Place(found or str(embedded), found in (None, embedded))


def jobs_api(settings: Settings) -> Place:
    """Where jobs are submitted: the given address, that of Ray's own variables, or the local head's dashboard.

    Raises NotRunning.
    """
    given = settings.ray_dashboard or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
    found = given.rstrip("/") if given and given.startswith(("http://", "https://")) else None
    embedded = local.addresses(settings.home).dashboard
    if not (found or embedded):
        raise NotRunning("Ray's jobs API", "CHILLFLOW_RAY_DASHBOARD")
    return Place(found or str(embedded), found in (None, embedded))


def show_token(settings: Settings, place: Place) -> None:
    """Puts the token where Ray looks for it: in the environment of this process, before it first connects."""
    if _IN_A_JOB in os.environ:
        return
    if place.embedded:
        os.environ.pop("RAY_AUTH_TOKEN", None)
        os.environ.update(local.ray_access(settings.home))
    elif "RAY_AUTH_MODE" not in os.environ and _has_token():
        os.environ["RAY_AUTH_MODE"] = "token"
    if "ray" in sys.modules:  # it has read the variables already
        import ray

        raylet: Any = ray._raylet
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()


def _has_token() -> bool:
    named = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return named or (Path.home() / ".ray" / "auth_token").exists()
