"""What a real API server says of the overlays, and what it keeps out."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy import kubernetes as k8s

pytestmark = pytest.mark.usefixtures("dev")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """A namespace in which nothing is."""
    name = f"{k8s.NAMESPACE}-dry-run"
    k8s.kubectl("create", "namespace", name)
    yield name
    k8s.kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("overlay", ["dev", "production"])
@pytest.mark.parametrize("part", ["", "assemble", "backfill"])
def test_the_server_takes_every_overlay(elsewhere: str, overlay: str, part: str) -> None:
    manifests = k8s.build(f"{overlay}/{part}").replace(f"namespace: {k8s.NAMESPACE}", f"namespace: {elsewhere}")
    said = k8s.kubectl("--namespace", elsewhere, "apply", "--dry-run=server", "--filename=-", given=manifests)
    lines = said.splitlines()
    assert lines
    assert all(line.endswith("(server dry run)") for line in lines), said


def pod(**container: Any) -> str:
    spec = {"containers": [{"name": "intruder", "image": "chillflow:dev", **container}]}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "intruder"}, "spec": spec})


@pytest.mark.parametrize("context", [{"privileged": True}, {"runAsUser": 0}, {}])
def test_a_pod_that_is_not_confined_is_refused(context: dict[str, Any]) -> None:
    said = k8s.kubectl("apply", "--filename=-", given=pod(securityContext=context), code=1)
    assert 'violates PodSecurity "restricted' in said


def test_only_the_autoscaler_has_a_token_of_kubernetes() -> None:
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    k8s.kubectl("exec", k8s.head(), "--container=autoscaler", "--", "test", "-s", token)
    assert k8s.on_head("bash", "-c", f"test -e {token} || echo none").strip() == "none"


def test_the_jobs_api_wants_the_token() -> None:
    script = (
        "import os, urllib.request as web\n"
        "for headers in ({}, {'Authorization': 'Bearer ' + os.environ['RAY_AUTH_TOKEN']}):\n"
        "    try: print(web.urlopen(web.Request('http://127.0.0.1:8265/api/jobs/', headers=headers)).status)\n"
        "    except web.HTTPError as fault: print(fault.code)\n"
    )
    assert k8s.on_head("python", "-c", script).split() == ["401", "200"]
