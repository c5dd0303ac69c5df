"""What is wrong with a deployment is said in the last line of a log or in a status, and then it is over."""

import json
from typing import Any

import pytest
import yaml

from tests.deploy import kubernetes as k8s

pytestmark = [pytest.mark.usefixtures("dev"), pytest.mark.timeout(1200)]


def migration(name: str, **changes: Any) -> dict[str, Any]:
    """The Job of the migrations under another name, its container changed."""
    (job,) = (one for one in yaml.safe_load_all(k8s.build("dev")) if one["kind"] == "Job")
    job["metadata"]["name"] = name
    job["spec"] |= {"backoffLimit": 0, "activeDeadlineSeconds": 90}
    job["spec"]["template"]["spec"]["containers"][0] |= changes
    k8s.remove("job", name)
    return dict(job)


def last_line(name: str) -> str:
    """The last line of the log of a Job that has failed."""
    k8s.kubectl("wait", "--for=condition=Failed", f"job/{name}", "--timeout=300s")
    return k8s.kubectl("logs", f"job/{name}").splitlines()[-1]


def command(*options: str) -> list[str]:
    return ["python", "-m", "chillflow.jobs.migrate", *options]


def test_a_secret_that_is_missing() -> None:
    settings = [{"configMapRef": {"name": "chillflow-settings"}}, {"secretRef": {"name": "nothing", "optional": True}}]
    k8s.apply(migration("no-secret", command=command(), envFrom=settings))
    assert last_line("no-secret") == (
        "chillflow migrate: PostgreSQL is not running; start it with `chillflow up`, or name another one in "
        "CHILLFLOW_POSTGRES_DSN"
    )


def test_a_database_that_is_out_of_reach() -> None:
    elsewhere = [{"name": "CHILLFLOW_POSTGRES_DSN", "value": "postgresql://chillflow@valkey:5432/chillflow"}]
    k8s.apply(migration("no-database", command=command("--wait", "3"), env=elsewhere))
    assert last_line("no-database").startswith("chillflow migrate: PostgreSQL at valkey:5432/chillflow does not answer")


def test_an_image_that_is_not_there() -> None:
    k8s.apply(migration("no-image", image="chillflow:none", imagePullPolicy="Never"))
    k8s.kubectl("wait", "--for=condition=Failed", "job/no-image", "--timeout=300s")
    (failed,) = (each for each in k8s.get("job", "no-image")["status"]["conditions"] if each["type"] == "Failed")
    assert failed["reason"] == "DeadlineExceeded"
    assert "chillflow:none" in k8s.kubectl("get", "events")


@pytest.mark.parametrize("name", ["backfill", "assemble"])
@pytest.mark.parametrize("part", ["initContainers", "containers"])
def test_a_job_whose_submitter_has_another_image_than_the_cluster(name: str, part: str) -> None:
    (job,) = yaml.safe_load_all(k8s.build(f"dev/{name}"))
    job["metadata"]["name"] = "no-submitter"
    job["spec"]["submitterPodTemplate"]["spec"][part][0]["image"] = "chillflow:none"
    said = k8s.kubectl("create", "--filename=-", given=json.dumps(job), code=1)
    assert "the cluster runs chillflow:dev, this job's submitter chillflow:none: name the cluster's image" in said


def test_a_job_that_says_one_thing_and_does_another() -> None:
    (job,) = yaml.safe_load_all(k8s.build("dev/backfill"))
    job["metadata"]["name"] = "other-work"
    job["spec"]["entrypoint"] += " --force"
    said = k8s.kubectl("create", "--filename=-", given=json.dumps(job), code=1)
    assert f"the entrypoint is {job['spec']['entrypoint']}, but the submitter runs chillflow submit --as" in said


def test_too_little_memory() -> None:
    few = {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"cpu": "1", "memory": "24Mi"}}
    k8s.apply(migration("no-memory", resources=few))
    k8s.kubectl("wait", "--for=condition=Failed", "job/no-memory", "--timeout=300s")
    (pod,) = k8s.get("pods", "--selector=job-name=no-memory")["items"]
    (status,) = pod["status"]["containerStatuses"]
    assert status["state"]["terminated"]["reason"] == "OOMKilled"


def test_a_job_that_fails_says_why_and_ends() -> None:
    (job,) = yaml.safe_load_all(k8s.build("dev/backfill"))
    job["metadata"]["name"] = "unpublished"
    work = job["spec"]["entrypoint"] = "python -m chillflow.jobs.backfill yellow 2019-11"
    job["spec"]["submitterPodTemplate"]["spec"]["containers"][0]["command"][-1] = work
    k8s.remove("rayjob", "unpublished")
    k8s.apply(job)
    k8s.until(lambda: k8s.job_status("unpublished").get("jobDeploymentStatus") == "Failed", "it has failed")
    assert k8s.job_status("unpublished")["jobStatus"] == "FAILED"
    assert "chillflow backfill: 1 of 1 months failed" in k8s.logs_of_job("unpublished")


def test_a_second_assembly_of_the_group_takes_over_and_the_first_says_so_and_ends() -> None:
    topic = ("--bootstrap-server", "kafka:9092", "--create", "--if-not-exists", "--topic", "trip-events")
    k8s.kubectl("exec", "deployment/kafka", "--", "/opt/kafka/bin/kafka-topics.sh", *topic, "--partitions", "6")
    (job,) = yaml.safe_load_all(k8s.build("dev/assemble"))
    second = json.loads(json.dumps(job))
    second["metadata"]["name"] = "assemble-again"
    for name in ("assemble", "assemble-again"):
        k8s.remove("rayjob", name)
    k8s.apply(job)
    k8s.until(lambda: "takes trip-events" in k8s.logs_of_job("assemble"), "it has the group")
    k8s.apply(second)
    k8s.until(lambda: k8s.job_status("assemble").get("jobDeploymentStatus") == "Failed", "the first has failed")
    assert "group chillflow was taken over by another" in k8s.logs_of_job("assemble")
    assert k8s.job_status("assemble-again")["jobStatus"] == "RUNNING"
    for name in ("assemble", "assemble-again"):
        k8s.remove("rayjob", name)
