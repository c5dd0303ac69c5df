"""compose.yaml and the workflows name only files, images, settings, commands and targets that exist."""

import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.services import KINDS

REPO = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((REPO / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SETTINGS = set(re.findall(r"^\| `(\w+)` \|", (REPO / "docs/settings.md").read_text(), re.M))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (REPO / "Makefile").read_text(), re.M))
WORKFLOWS = sorted((REPO / ".github/workflows").glob("*.yml"))

every_service = pytest.mark.parametrize("name", SERVICES)
every_workflow = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)


def ours() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in SERVICES.items() if "CHILLFLOW_IMAGE" in service["image"]}


def test_what_compose_asks_the_environment_for_is_documented() -> None:
    text = (REPO / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    documented = (REPO / "docs/settings.md").read_text().partition("## Compose")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([^`|]+?)`? \|", documented, re.M))
    assert set(rows) == asked
    assert dict(re.findall(r"\$\{(\w+):-([^}]+)\}", text)) == rows


@every_service
def test_a_services_settings_are_settings(name: str) -> None:
    given = {key for key in SERVICES[name].get("environment", {}) if key.startswith("CHILLFLOW_")}
    assert given <= SETTINGS


@every_service
def test_an_image_is_pinned_by_its_tag(name: str) -> None:
    image = re.sub(r"\$\{\w+:-(.+)\}", r"\1", SERVICES[name]["image"])
    _, _, tag = image.partition(":")
    assert tag
    assert tag != "latest"


@every_service
def test_everything_is_published_on_loopback(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@every_service
def test_a_service_says_whether_it_is_well_and_has_a_bound(name: str) -> None:
    service = SERVICES[name]
    assert "mem_limit" in service
    assert service["restart"] in ("no", "on-failure:10")
    assert name in ours() or "test" in service["healthcheck"]


@every_service
def test_what_is_waited_for_is_a_service_and_can_be_waited_for(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        done = how["condition"] == "service_completed_successfully"
        assert done == (SERVICES[other]["restart"] == "no")


@every_service
def test_a_service_mounts_what_is_declared(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= set(COMPOSE["volumes"])


def test_no_password_is_written_down(tmp_path: Path) -> None:
    subprocess.run(["sh", str(REPO / "cluster/secrets.sh"), str(tmp_path / "s")], check=True)
    made = {file.name: file.read_text() for file in (tmp_path / "s").iterdir()}
    assert set(made) == set(COMPOSE["secrets"])
    assert all(Path(each["file"].partition("}")[2]).name == name for name, each in COMPOSE["secrets"].items())
    assert made["postgres_password"] in made["postgres_dsn"]
    assert made["redis_password"] in made["redis_url"]
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700


def test_secrets_that_are_there_stay(tmp_path: Path) -> None:
    for _ in range(2):
        subprocess.run(["sh", str(REPO / "cluster/secrets.sh"), str(tmp_path)], check=True)
        made = {file.name: file.read_text() for file in tmp_path.iterdir()}
        (tmp_path / "ray_token").write_text("mine")
    assert made["ray_token"] == "mine"
    assert len(made["redis_password"]) == 48


def test_our_services_run_what_the_image_has() -> None:
    scripts = set(re.findall(r"^COPY .* /usr/local/bin/(\S+)$", (REPO / "cluster/Dockerfile").read_text(), re.M))
    for service in ours().values():
        program, *rest = service["command"]
        if program == "python":
            assert rest[0] == "-m"
            assert importlib.util.find_spec(rest[1])
        else:
            assert program in scripts


def test_a_node_reads_what_it_is_given() -> None:
    node = (REPO / "cluster/ray-node.py").read_text()
    given = {key for service in ours().values() for key in service["environment"] if key.startswith("RAY_NODE_")}
    assert given == set(re.findall(r'number\("(RAY_NODE_\w+)"\)', node))


@every_workflow
def test_a_workflow_calls_targets_that_exist(file: Path) -> None:
    called = set(re.findall(r"\bmake ([a-z][a-z0-9-]*)", "\n".join(runs(file))))
    assert called
    assert called <= TARGETS


@every_workflow
def test_a_workflow_names_files_that_exist(file: Path) -> None:
    named = re.findall(r"(?:file|cache-dependency-path): ([\w./-]+)", file.read_text())
    named += [word for line in runs(file) for word in re.findall(r"\b[\w/]+\.(?:toml|py|sh|yaml)\b", line)]
    assert all((REPO / name).exists() for name in named)


@every_workflow
def test_an_action_is_pinned_by_its_digest_and_the_same_everywhere(file: Path) -> None:
    used = re.findall(r"uses: (\S+)@(\S+) # (v[\d.]+)$", file.read_text(), re.M)
    assert len(used) == len(re.findall(r"uses:", file.read_text()))
    assert all(re.fullmatch(r"[0-9a-f]{40}", digest) for _, digest, _ in used)
    everywhere = {match for other in WORKFLOWS for match in re.findall(r"uses: (\S+)@(\S+) #", other.read_text())}
    assert len(everywhere) == len({action for action, _ in everywhere})


@every_workflow
def test_a_workflow_has_no_rights_but_those_that_a_job_names(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {}
    assert all(job["permissions"] for job in workflow["jobs"].values())


def test_the_matrix_is_what_the_package_allows() -> None:
    import tomllib

    from packaging.specifiers import SpecifierSet

    allowed = SpecifierSet(tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["requires-python"])
    matrix = yaml.safe_load((REPO / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == [f"3.{minor}" for minor in range(9, 20) if f"3.{minor}.5" in allowed]
    assert matrix["services"] == KINDS


def runs(file: Path) -> list[str]:
    """The command lines of a workflow."""
    jobs = yaml.safe_load(file.read_text())["jobs"].values()
    return [line for job in jobs for step in job["steps"] for line in step.get("run", "").splitlines()]
