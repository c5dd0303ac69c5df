"""The dev overlay on a cluster, for the tests of this folder: applied once, deleted at the end."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import kubernetes as k8s
from tests.fix_embedded import GIVEN, Cli
from tests.warehouse_dump import dump


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All images of the dev overlay are on the nodes; a folder for more."""
    if why := k8s.missing():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("images")
    for image in sorted(set(re.findall(r"image: (\S+)", k8s.build("dev")))):
        k8s.bring(image, folder)
    return folder


@pytest.fixture(scope="module")
def local_rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """What the backfill of the dev overlay makes on the embedded services, which run no longer than that takes."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(GIVEN)}
    months = str(tmp_path_factory.mktemp("months"))
    cli = Cli(env | {"CHILLFLOW_HOME": str(tmp_path_factory.mktemp("home")), "CHILLFLOW_CPUS": "2"})
    cli.run("synth", "yellow", "2019-01..2019-03", "--rows", "20000", "--seed", "1", "--to", months)
    try:
        cli.run("up")
        cli.run("backfill", "yellow", "2019-01..2019-02", "--source", months)
        return dump(cli.json("status")["postgres"])
    finally:
        cli.run("down")


@pytest.fixture(scope="session")
def dev(images: Path) -> Iterator[None]:
    """The dev overlay, whole and ready. CHILLFLOW_TEST_KUBERNETES=keep leaves it there."""
    k8s.kubectl("apply", f"--kustomize={k8s.OVERLAYS / 'dev'}")
    k8s.kubectl("wait", "--for=condition=Available", "deployment", "--all", "--timeout=600s")
    k8s.kubectl("wait", "--for=condition=Complete", "job/chillflow-migrate", "--timeout=600s")
    # Not by the RayCluster's conditions: after a second `apply` their generation is not that of the object any more.
    k8s.until(lambda: any(map(k8s.ready, k8s.pods("headgroup"))), "the head is ready")
    yield
    if not k8s.keep():
        k8s.kubectl("delete", "rayjob", "--all", "--timeout=180s")
        k8s.kubectl("delete", f"--kustomize={k8s.OVERLAYS / 'dev'}", "--ignore-not-found", "--timeout=300s")
