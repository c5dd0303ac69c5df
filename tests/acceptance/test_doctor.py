"""`chillflow doctor`: all is well on the embedded services; what is wrong is named, with its remedy."""

import json
import os
import time
from pathlib import Path

import pytest

from chillflow.commands.doctor import _clock
from tests.fix_embedded import GIVEN, Cli

CHECKS = {"versions", "rights", "disk", "limits", "postgres", "clock", "schema", "redis", "kafka", "ray", "lake"}


def nowhere(home: Path, **variables: str) -> Cli:
    env = {name: value for name, value in os.environ.items() if not name.startswith(GIVEN)}
    return Cli(env | {"CHILLFLOW_HOME": str(home)} | variables)


def wrong(cli: Cli) -> dict[str, tuple[str, str]]:
    """What failed, with what was found and the remedy; something must have."""
    found = json.loads(cli.run("doctor", "--json", code=1).stdout)
    return {one["check"]: (one["found"], one["remedy"]) for one in found if one["state"] == "failed"}


def test_all_is_well_with_the_embedded_services(cli: Cli) -> None:
    found = cli.json("doctor")
    assert {one["check"] for one in found} == CHECKS
    assert [one for one in found if one["state"] == "failed"] == []
    assert "ok       ray " in cli.run("doctor").stdout
    lake = Path(cli.env["CHILLFLOW_LAKE"])
    assert not lake.exists() or list(lake.iterdir()) == []


def test_services_that_are_not_started_are_told_with_the_command_that_starts_them(tmp_path: Path) -> None:
    cli = nowhere(tmp_path / "home")
    found = wrong(cli)
    assert set(found) == {"postgres", "redis", "kafka", "ray"}
    assert all("`chillflow up`" in remedy for _, remedy in found.values())
    assert not (tmp_path / "home").exists()
    said = cli.run("doctor", code=1)
    assert said.stderr.count("\n") == 1
    assert said.stderr.startswith("chillflow: something is wrong with postgres, redis, kafka, ray; ")


def test_services_that_do_not_answer_are_told_without_their_passwords(tmp_path: Path) -> None:
    cli = nowhere(
        tmp_path, CHILLFLOW_POSTGRES_DSN="postgresql://u:SECRET@127.0.0.1:1/x",
        CHILLFLOW_REDIS_URL="redis://:SECRET@127.0.0.1:1/0", CHILLFLOW_KAFKA_BOOTSTRAP="127.0.0.1:1",
        CHILLFLOW_RAY_ADDRESS="127.0.0.1:1", CHILLFLOW_RAY_DASHBOARD="http://127.0.0.1:1",
    )  # fmt: skip
    done = cli.run("doctor", "--json", code=1)
    states = {one["check"]: one["state"] for one in json.loads(done.stdout)}
    assert states["postgres"] == states["kafka"] == "failed"
    assert states["redis"] == states["ray"] == "warning"
    assert "SECRET" not in done.stdout + done.stderr


def test_secrets_that_others_can_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "ray-token").write_text("token")
    (tmp_path / "ray-token").chmod(0o644)
    found, remedy = wrong(nowhere(tmp_path))["rights"]
    assert "ray-token can be read by others" in found
    assert remedy == f"chmod 600 {tmp_path / 'ray-token'}"


def test_a_lake_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found, remedy = wrong(nowhere(tmp_path / "home", CHILLFLOW_LAKE=str(tmp_path / "file" / "lake")))["lake"]
    assert found == f"{tmp_path / 'file'} cannot be written"
    assert "CHILLFLOW_LAKE" in remedy


@pytest.mark.parametrize(("apart", "state"), [(0.5, "ok"), (-10, "warning"), (10, "warning"), (-3600, "failed")])
def test_clocks_that_differ_are_told(apart: float, state: str) -> None:
    [finding] = _clock("PostgreSQL", time.time() + apart)
    assert finding.state == state
    assert bool(finding.remedy) == (state != "ok")
