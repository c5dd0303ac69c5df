"""The cluster launcher's configurations are valid under Ray's own schema, and name only what is there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

REPO = Path(__file__).parents[2]
FILES = sorted((REPO / "cluster").glob("ray-*.yaml"))
EXAMPLE = (REPO / "cluster/environment.example").read_text()

every_cluster = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


def read(file: Path) -> dict[str, Any]:
    found = yaml.safe_load(file.read_text())
    assert isinstance(found, dict)
    return found


def test_there_is_one_for_plain_machines() -> None:
    assert "ray-machines.yaml" in [file.name for file in FILES]


@every_cluster
def test_ray_takes_it(file: Path) -> None:
    validate_config(prepare_config(read(file)))


@every_cluster
def test_what_it_brings_to_the_machines_is_in_the_clone(file: Path) -> None:
    for place in read(file)["file_mounts"].values():
        assert (REPO / place).exists() or (REPO / f"{place}.example").exists()
    text = file.read_text()
    for name in re.findall(r"~/chillflow/source/(\S+)", text):
        assert (REPO / name).exists()


@every_cluster
def test_its_dashboard_is_on_loopback_and_every_node_has_the_environment(file: Path) -> None:
    config = read(file)
    for commands in config["head_start_ray_commands"], config["worker_start_ray_commands"]:
        start = commands[-1]
        assert ". ~/chillflow/environment" in start
        assert "assembler_slot" in start
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]


def test_the_environment_asks_for_a_token_and_names_settings() -> None:
    named = dict(line.split("=", 1) for line in EXAMPLE.splitlines() if line and not line.startswith("#"))
    known = set(re.findall(r"^\| `(\w+)` \|", (REPO / "docs/settings.md").read_text(), re.M))
    assert {name for name in named if name.startswith("CHILLFLOW_")} <= known
    assert named["RAY_AUTH_MODE"] == "token"
    assert int(named["RAY_JOB_STOP_WAIT_TIME_S"]) >= 60
    assert "cluster/environment\n" in (REPO / ".gitignore").read_text()
