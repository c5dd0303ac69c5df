"""What kuberay/ names is there: files, images, commands, settings, secrets, services; and every pod is confined."""

import importlib
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from chillflow.actors import pool
from chillflow.cli import COMMANDS
from tests.unit.test_docs import variables_read

REPO = Path(__file__).parents[2]
KUBERAY = REPO / "kuberay"
FILES = sorted(KUBERAY.rglob("*.yaml"))
IMAGE = "chillflow"
TAG = re.compile(r"[\w./-]+:[\w.]+")
HOST = re.compile(r"(?:@|//|=|^)([a-z][a-z0-9-]*):\d{4}\b")
ELSEWHERE = {"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "POSTGRES_PASSWORD", "VALKEY_PASSWORD"}
"""What the environment of pods holds beside settings: variables of object stores' SDKs and of other images."""

Thing = dict[str, Any]


def documents(file: Path) -> list[Any]:
    return [found for found in yaml.safe_load_all(file.read_text()) if found is not None]


def kustomizations() -> dict[Path, Thing]:
    return {file: documents(file)[0] for file in FILES if file.name == "kustomization.yaml"}


def objects() -> list[Thing]:
    """The manifests, kustomizations and patches aside."""
    found = [one for file in FILES for one in documents(file) if isinstance(one, dict)]
    return [one for one in found if one["kind"] not in ("Kustomization", "Component")]


def pods(thing: Any, where: str = "") -> Iterator[tuple[str, Thing, Thing]]:
    """Every pod's place, metadata and spec in an object, at any depth."""
    if isinstance(thing, list):
        for number, each in enumerate(thing):
            yield from pods(each, f"{where}/{number}")
    elif isinstance(thing, dict):
        if "containers" in thing.get("spec", {}):
            yield where, thing.get("metadata", {}), thing["spec"]
        for name, each in thing.items():
            yield from pods(each, f"{where}/{name}")


PODS = [
    pytest.param(meta, spec, id=f"{one['kind']}-{one['metadata']['name']}{where}")
    for one in objects()
    for where, meta, spec in pods(one)
]
every_pod = pytest.mark.parametrize(("meta", "spec"), PODS)


def containers(spec: Thing) -> list[Thing]:
    return [*spec.get("initContainers", ()), *spec["containers"]]


def of_kind(kind: str) -> list[Thing]:
    return [one for one in objects() if one["kind"] == kind]


def generated(what: str, overlay: str) -> dict[str, str]:
    """The literals of an overlay's generated ConfigMap or Secret, those of the base included."""
    found: dict[str, str] = {}
    for file, one in kustomizations().items():
        if file.parent.name in ("base", overlay):
            lines = [line for each in one.get(what, ()) for line in each.get("literals", ())]
            found |= dict(line.split("=", 1) for line in lines)
    return found


def command_lines() -> list[list[str]]:
    """What containers, hooks and Ray jobs run of ours."""
    found = [shlex.split(one["spec"]["entrypoint"]) for one in of_kind("RayJob")]
    for patches in (one.get("patches", ()) for one in kustomizations().values()):
        for patch in (yaml.safe_load(each["patch"]) for each in patches if "patch" in each):
            found += [shlex.split(each["value"]) for each in patch if each["path"] == "/spec/entrypoint"]
    for _, _, spec in (found for one in objects() for found in pods(one)):
        for container in containers(spec):
            hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {})
            found += [line for line in (container.get("command"), hook.get("command")) if line]
    lines = [shlex.split(line) for words in found if words[0] == "/bin/bash" for line in words[-1].splitlines()]
    return [words for words in [*found, *lines] if words[:1] == ["chillflow"] or words[:2] == ["python", "-m"]]


def command_of(words: list[str]) -> tuple[click.Command, list[str]] | None:
    """Our command that a command line runs, and its arguments."""
    if words[0] == "python":
        module, rest = words[2], words[3:]
        if not module.startswith("chillflow."):
            return None
        name = module.rpartition(".")[2]
    else:
        module, name, rest = COMMANDS[words[1]][0], words[1], words[2:]
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, click.Command)
    return found, rest


def test_files_that_are_named_exist() -> None:
    for file, one in kustomizations().items():
        named = [*one.get("resources", ()), *one.get("components", ())]
        named += [patch["path"] for patch in one.get("patches", ()) if "path" in patch]
        assert named or one["kind"] == "Component", file
        for name in named:
            found = file.parent / name
            assert found.is_file() or (found / "kustomization.yaml").is_file(), f"{file} names {name}"


def test_every_file_is_used() -> None:
    used = {
        (file.parent / name).resolve()
        for file, one in kustomizations().items()
        for name in [*one.get("resources", ()), *(patch.get("path", "") for patch in one.get("patches", ()))]
    }
    assert {file for file in FILES if file.name != "kustomization.yaml"} <= used


@every_pod
def test_images_are_ours_or_pinned(meta: Thing, spec: Thing) -> None:
    for container in containers(spec):
        assert container["image"] == IMAGE or TAG.fullmatch(container["image"]), container["image"]


def test_every_overlay_says_which_image_is_ours() -> None:
    for overlay in ("dev", "production"):
        (image,) = documents(KUBERAY / "overlays" / overlay / "image" / "kustomization.yaml")[0]["images"]
        assert image["name"] == IMAGE
        assert image["newTag"]
    assert documents(KUBERAY / "overlays/dev/image/kustomization.yaml")[0]["images"][0]["newTag"] == "dev"


@every_pod
def test_pods_are_confined(meta: Thing, spec: Thing) -> None:
    pod = spec["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] > 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in containers(spec):
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own.get("readOnlyRootFilesystem") or container["image"] != IMAGE
        assert {"cpu", "memory"} == {*container["resources"]["requests"]} == {*container["resources"]["limits"]}


@every_pod
def test_pods_mount_what_they_have_and_have_accounts_that_exist(meta: Thing, spec: Thing) -> None:
    volumes = {volume["name"] for volume in spec.get("volumes", ())}
    for container in containers(spec):
        assert {mount["name"] for mount in container.get("volumeMounts", ())} <= volumes
    accounts = {one["metadata"]["name"] for one in of_kind("ServiceAccount")}
    assert spec.get("serviceAccountName") in {None, *accounts}


@every_pod
def test_what_pods_read_of_secrets_and_settings_is_there(meta: Thing, spec: Thing) -> None:
    secrets = {"chillflow-services": {*generated("secretGenerator", "dev")}, "chillflow": {"auth_token"}}
    for container in containers(spec):
        for each in container.get("envFrom", ()):
            assert each.get("configMapRef", {"name": "chillflow-settings"})["name"] == "chillflow-settings"
            assert each.get("secretRef", {"name": "chillflow-services"})["name"] in secrets
        for variable in container.get("env", ()):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            assert reference is None or reference["key"] in secrets[reference["name"]], variable


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_settings_are_settings(overlay: str) -> None:
    given = {*generated("configMapGenerator", overlay), *generated("secretGenerator", overlay)}
    known = variables_read(REPO / "chillflow/settings.py")
    assert given - ELSEWHERE <= known
    assert {"CHILLFLOW_KAFKA_BOOTSTRAP", "CHILLFLOW_LAKE", "CHILLFLOW_RAW"} <= given


def test_production_holds_no_secret_and_says_which_it_needs() -> None:
    assert not generated("secretGenerator", "production")
    text = (KUBERAY / "overlays/production/kustomization.yaml").read_text()
    assert {*generated("secretGenerator", "dev")} - set(re.findall(r"\w+", text)) == {
        "POSTGRES_PASSWORD", "VALKEY_PASSWORD",
    }  # fmt: skip


def test_services_that_settings_name_exist() -> None:
    values = [*generated("configMapGenerator", "dev").values(), *generated("secretGenerator", "dev").values()]
    for _, _, spec in (found for one in objects() for found in pods(one)):
        values += [str(each.get("value", "")) for container in containers(spec) for each in container.get("env", ())]
    named = {name for value in values for name in HOST.findall(value)} - {"localhost"}
    ports = {one["metadata"]["name"] for one in of_kind("Service")}
    heads = {f"{one['metadata']['name']}-head-svc" for one in of_kind("RayCluster")}
    assert {"postgres", "valkey", "kafka", "s3"} <= named <= ports | heads


def test_commands_are_ours_and_take_these_arguments() -> None:
    lines = command_lines()
    for words in lines:
        found = command_of(words)
        if found is not None:
            command, rest = found
            command.make_context("", [*rest]).close()
    ran = {words[2] for words in lines if words[0] == "python"}
    assert {f"chillflow.jobs.{name}" for name in ("assemble", "backfill", "migrate", "leave")} <= ran


def test_ray_is_the_ray_that_is_pinned_and_assemblers_find_their_slots() -> None:
    (cluster,) = of_kind("RayCluster")
    assert cluster["spec"]["rayVersion"] == version("ray")
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    assert cluster["spec"]["headGroupSpec"]["resources"] == {"CPU": "0"}
    groups = {group["groupName"]: group for group in cluster["spec"]["workerGroupSpecs"]}
    assert {name for name, group in groups.items() if pool.SLOT in group["resources"]} == {"assembler"}
    assert groups["batch"]["minReplicas"] == 0
    for one in of_kind("RayJob"):
        assert one["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}


def test_policies_and_budgets_speak_of_pods_that_exist() -> None:
    (cluster,) = of_kind("RayCluster")
    groups = {"headgroup", *(group["groupName"] for group in cluster["spec"]["workerGroupSpecs"])}
    known = {
        "ray.io/cluster": {cluster["metadata"]["name"]},
        "ray.io/node-type": {"head", "worker"},
        "ray.io/group": groups,
        "app.kubernetes.io/name": {"kuberay-operator"},
        "app.kubernetes.io/component": {
            meta.get("labels", {}).get("app.kubernetes.io/component")
            for one in objects()
            for _, meta, _ in pods(one)
        },
    }  # fmt: skip
    text = json.dumps([one["spec"] for kind in ("NetworkPolicy", "PodDisruptionBudget") for one in of_kind(kind)])
    asked = re.findall(r'"matchLabels": (\{[^}]*\})', text)
    assert asked
    for labels in map(json.loads, asked):
        assert all(value in known[name] for name, value in labels.items()), labels
    for name, values in re.findall(r'"key": "([^"]+)", "operator": "In", "values": (\[[^]]*\])', text):
        assert {*json.loads(values)} <= known[name]


def test_the_policy_of_submitters_is_bound_to_the_cluster_of_the_jobs() -> None:
    (cluster,), (space,) = of_kind("RayCluster"), of_kind("Namespace")
    (policy,), (binding,) = of_kind("ValidatingAdmissionPolicy"), of_kind("ValidatingAdmissionPolicyBinding")
    name, spec = cluster["metadata"]["name"], binding["spec"]
    assert spec["policyName"] == policy["metadata"]["name"]
    assert spec["paramRef"]["name"] == name
    assert spec["validationActions"] == ["Deny"]
    wanted = {"kubernetes.io/metadata.name": space["metadata"]["name"]}
    assert spec["matchResources"]["namespaceSelector"]["matchLabels"] == wanted
    asked = [one["expression"] for one in policy["spec"]["matchConditions"]]
    assert f'object.spec.?clusterSelector[?"ray.io/cluster"].orValue("") == "{name}"' in asked


@pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl, which has kustomize")
@pytest.mark.parametrize("overlay", ["dev", "production"])
@pytest.mark.parametrize("part", [".", "assemble", "backfill"])
def test_overlays_are_whole(overlay: str, part: str) -> None:
    command = ["kubectl", "kustomize", str(KUBERAY / "overlays" / overlay / part)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    found = list(yaml.safe_load_all(built.stdout))
    assert {one["metadata"].get("namespace") for one in found} <= {"chillflow", None}
    assert f"image: {IMAGE}\n" not in built.stdout
    for job in (one for one in found if one["kind"] == "RayJob"):
        (submitter,) = job["spec"]["submitterPodTemplate"]["spec"]["containers"]
        assert submitter["command"][-1] == job["spec"]["entrypoint"]
