"""Jobs on a Ray cluster that KubeRay runs: what they make, and that nothing is lost while pods come and go."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import kubernetes as k8s
from tests.warehouse_dump import dump

pytestmark = [pytest.mark.usefixtures("dev"), pytest.mark.timeout(1800)]

PASSWORD = "for-trying-out"
MONTH = "2019-03"
SPEED = 15_000
"""Times real time: a month lasts three minutes."""


def warehouse() -> dict[str, tuple[int, str]]:
    with k8s.forwarded("service/postgres", 5432) as port:
        return dump(f"postgresql://chillflow:{PASSWORD}@127.0.0.1:{port}/chillflow")


def ask(sql: str) -> list[list[str]]:
    said = k8s.kubectl("exec", "deployment/postgres", "--", "psql", "-U", "chillflow", "-h", "127.0.0.1", "-AtF", "\t",
                       "-c", sql)  # fmt: skip
    return [line.split("\t") for line in said.splitlines()]


def settled() -> int:
    return int(ask("select coalesce(sum(next_offset), 0) from chillflow.assembly_partitions")[0][0])


def shares() -> list[int]:
    """How many partitions each owner has."""
    found = ask("select count(*) from chillflow.assembly_partitions where owner is not null group by owner order by 1")
    return [int(row[0]) for row in found]


def assemblers() -> set[str]:
    return {name for name in k8s.names(k8s.pods("assembler"))}


def test_a_backfill_gives_the_rows_of_a_local_one(local_rows: dict[str, tuple[int, str]]) -> None:
    k8s.remove("rayjob", "backfill")
    k8s.kubectl("apply", f"--kustomize={k8s.OVERLAYS / 'dev' / 'backfill'}")
    k8s.until(lambda: k8s.job_status("backfill").get("jobDeploymentStatus") in ("Complete", "Failed"), "an end")
    assert k8s.job_status("backfill")["jobStatus"] == "SUCCEEDED", k8s.logs_of_job("backfill")

    there = warehouse()
    assert there["trips"][0] > 35_000
    for table in ("trips", "quarantine", "adjustments", "kpi_zone_hourly"):
        assert there[table] == local_rows[table], table
    k8s.until(lambda: not k8s.pods("batch"), "the group of batch is back to nothing")


def test_the_monthly_job_submits_backfills_and_skips_what_is_done() -> None:
    (cron,) = (one for one in yaml.safe_load_all(k8s.build("dev")) if one["kind"] == "CronJob")
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "monthly"}} | cron["spec"]["jobTemplate"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container["env"] += [{"name": "SERVICES", "value": "yellow"}, {"name": "MONTHS", "value": "2019-01..2019-02"}]
    k8s.remove("job", "monthly")
    k8s.apply(job)
    k8s.kubectl("wait", "--for=condition=Complete", "job/monthly", "--timeout=600s")
    assert k8s.kubectl("logs", "job/monthly").count("done already, its source is unchanged") == 2


@contextmanager
def assembling() -> Iterator[None]:
    k8s.remove("rayjob", "assemble")
    k8s.kubectl("apply", f"--kustomize={k8s.OVERLAYS / 'dev' / 'assemble'}")
    try:
        yield
    finally:
        k8s.remove("rayjob", "assemble")


@pytest.fixture(scope="module")
def month(dev: None) -> None:
    """It is curated, to be compared with what is streamed of it."""
    k8s.on_head("python", "-m", "chillflow.jobs.curate", "yellow", MONTH)


@pytest.mark.usefixtures("month")
def test_a_stream_scaled_up_and_down_under_load_loses_nothing() -> None:
    job = replay("replay", "--speed", str(SPEED), "--duplicate", "0.05", "--shuffle", "3600", "--seed", "7")
    with assembling():
        k8s.apply(job)
        k8s.until(lambda: settled() > 0 and shares() == [6], "one assembler has all, and gets on")

        k8s.on_head("chillflow", "scale", "3")
        seconds = k8s.until(lambda: shares() == [2, 2, 2], "three share the partitions")
        print(f"1 -> 3: {seconds:.0f} s")
        before = assemblers()
        assert len(before) == 3

        k8s.kubectl("delete", "pod", sorted(before)[0], "--wait=false")
        seconds = k8s.until(lambda: shares() == [2, 2, 2] and len(assemblers() & before) == 2, "another takes over")
        print(f"pod deleted: {seconds:.0f} s")
        killed = sorted(assemblers())[1]
        k8s.kubectl("delete", "pod", killed, "--wait=false", "--grace-period=0", "--force")
        k8s.until(lambda: shares() == [2, 2, 2] and killed not in assemblers(), "another takes over")

        k8s.on_head("chillflow", "scale", "1")
        k8s.until(lambda: shares() == [6], "one has all")
        seconds = k8s.until(lambda: len(assemblers()) == 1, "the other pods are gone")
        print(f"pods gone after scaling down: {seconds:.0f} s")
        assert is_done(job), k8s.state()
    finish()


def replay(name: str, *options: str) -> dict[str, Any]:
    """A Job that replays the month: as the migrations, with another command."""
    (job,) = (one for one in map(json.loads, [k8s.kubectl("get", "job", "chillflow-migrate", "--output=json")]))
    spec = job["spec"]["template"]["spec"]
    container = spec["containers"][0] | {
        "name": "replay",
        "command": ["python", "-m", "chillflow.jobs.replay", "yellow", MONTH, "--partitions", "6", *options],
    }
    container["volumeMounts"] = [*container["volumeMounts"], {"name": "data", "mountPath": "/data"}]
    volumes = [*spec["volumes"], {"name": "data", "emptyDir": {}}]
    template = {
        "metadata": {"labels": {"app.kubernetes.io/component": "job"}},
        "spec": spec | {"containers": [container], "volumes": volumes},
    }
    k8s.remove("job", name)
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 3, "template": template},
    }  # fmt: skip


def is_done(job: dict[str, Any]) -> bool:
    k8s.kubectl("wait", "--for=condition=Complete", f"job/{job['metadata']['name']}", "--timeout=900s")
    return True


def finish() -> None:
    """All that was sent is settled, and equals the curated month."""
    k8s.on_head("python", "-m", "chillflow.jobs.assemble", "--until-caught-up", "--workers", "1")
    assert "no differences" in k8s.on_head("python", "-m", "chillflow.jobs.reconcile", "yellow", MONTH)


def evict(pod: str, code: int = 0) -> str:
    what = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": k8s.NAMESPACE}}
    path = f"/api/v1/namespaces/{k8s.NAMESPACE}/pods/{pod}/eviction"
    return k8s.kubectl("create", f"--raw={path}", "--filename=-", given=json.dumps(what), code=code)


@contextmanager
def draining(*nodes: str) -> Iterator[subprocess.Popen[str]]:
    """`kubectl drain` of nodes, of their assemblers alone: all else may be on the only node that there is."""
    with k8s.started("drain", *nodes, "--pod-selector=ray.io/group=assembler", "--delete-emptydir-data") as drain:
        try:
            yield drain
        finally:
            k8s.kubectl("uncordon", *nodes)


@pytest.mark.usefixtures("month")
def test_a_drained_node_gives_up_one_assembler_after_the_other_and_the_budget_keeps_the_head() -> None:
    assert "disruption budget" in evict(k8s.head(), code=1)
    job = replay("replay-drained", "--speed", str(SPEED), "--seed", "8", "--force")
    with assembling():
        k8s.apply(job)
        k8s.on_head("chillflow", "scale", "2")
        k8s.until(lambda: shares() == [3, 3], "two share the partitions")
        k8s.until(lambda: len([pod for pod in k8s.pods("assembler") if k8s.ready(pod)]) == 2, "two are ready")
        before = assemblers()
        nodes = sorted({pod["spec"]["nodeName"] for pod in k8s.pods("assembler")})
        with draining(*nodes) as drain:
            k8s.until(lambda: len(before & assemblers()) == 1, "one has left, and its successor has no node")
            (last,) = before & assemblers()
            assert "disruption budget" in evict(last, code=1)
            k8s.kubectl("uncordon", *nodes)  # as if another node came
            assert drain.wait(k8s.PATIENCE) == 0, k8s.state()
        k8s.until(lambda: shares() == [3, 3] and not before & assemblers(), "two others share the partitions")
        assert is_done(job)
    finish()


@pytest.mark.usefixtures("month")
def test_the_pool_follows_the_lag() -> None:
    k8s.on_head("chillflow", "scale", "--min", "1", "--max", "3", "--lag-target", "1000")
    k8s.until(lambda: not assemblers(), "no pod is left: what is sent now waits for one")
    for seed in ("9", "10", "11"):
        job = replay("replay-lag", "--speed", "max", "--seed", seed, "--force")
        k8s.apply(job)
        assert is_done(job)
    with assembling():
        seconds = k8s.until(lambda: len(assemblers()) == 3, "as many as are allowed")
        print(f"1 -> 3 by lag: {seconds:.0f} s after it began")
        seconds = k8s.until(lambda: len(assemblers()) == 1, "as few as are allowed")
        print(f"3 -> 1 by lag: {seconds:.0f} s")
        assert shares() == [6]
    finish()


@pytest.mark.usefixtures("month")
def test_another_image_replaces_every_pod_and_assembling_goes_on(images: Path, tmp_path: Path) -> None:
    k8s.bring("chillflow:dev", images, "chillflow:next")
    job = replay("replay-upgraded", "--speed", str(SPEED), "--seed", "12", "--force")
    with assembling():
        k8s.on_head("chillflow", "scale", "2")
        k8s.apply(job)
        k8s.until(lambda: settled() > 0 and shares() == [3, 3], "two share the partitions")
        cluster = k8s.get("raycluster", "chillflow")
        upgraded = json.loads(json.dumps(cluster["spec"]).replace("chillflow:dev", "chillflow:next"))
        k8s.kubectl("patch", "raycluster", "chillflow", "--type=merge", f"--patch={json.dumps({'spec': upgraded})}")
        k8s.until(lambda: images_of("headgroup") == {"chillflow:next"}, "the head is new")
        k8s.until(lambda: images_of("assembler") == {"chillflow:next"} and shares() == [3, 3], "assembling goes on")
        assert is_done(job)
    finish()


def images_of(group: str) -> set[str]:
    """The images of the group's pods, all of which are ready."""
    found = k8s.pods(group)
    if not all(map(k8s.ready, found)):
        return set()
    return {container["image"] for pod in found for container in pod["spec"]["containers"]}
