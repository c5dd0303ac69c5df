"""Settings that cannot be meant are wrong usage; what may be secret in them is not shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chillflow.errors import BadSetting
from chillflow.jobs.session import kafka_config
from chillflow.settings import FILES, Settings, for_jobs
from tests.fix_embedded import REPO, Cli


@pytest.mark.parametrize("text", ["two", "0", "-1", "1.5", " "])
def test_cpus_are_a_number_from_1_on(text: str) -> None:
    with pytest.raises(BadSetting, match=r"CHILLFLOW_CPUS is .*; set it to a whole number from 1 on") as caught:
        Settings.read({"CHILLFLOW_CPUS": text})
    assert caught.value.exit_code == 2


def test_cpus_are_the_machines_if_they_are_not_given() -> None:
    assert Settings.read({"CHILLFLOW_CPUS": ""}).cpus == os.cpu_count()
    assert Settings.read({"CHILLFLOW_CPUS": "3"}).cpus == 3


def test_a_wrong_setting_ends_a_command_in_one_sentence(tmp_path: Path) -> None:
    cli = Cli({**os.environ, "CHILLFLOW_HOME": str(tmp_path), "CHILLFLOW_CPUS": "two"})
    assert cli.run("status", code=2).stderr == (
        "chillflow: CHILLFLOW_CPUS is 'two'; set it to a whole number from 1 on, or unset it\n"
    )


def test_a_password_may_lie_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "dsn"
    secret.write_text("postgresql://u:SECRET@db/x\n")
    settings = Settings.read({"CHILLFLOW_POSTGRES_DSN_FILE": str(secret), "CHILLFLOW_REDIS_URL_FILE": ""})
    assert (settings.postgres_dsn, settings.redis_url) == ("postgresql://u:SECRET@db/x", None)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "expected"), [(None, "a file that can be read"), (b" \n", "a file that is not empty"),
                              (b"\xff\xfe", "a file that can be read")],
)  # fmt: skip
def test_a_file_of_a_secret_that_is_not_there_is_named(
    name: str, content: bytes | None, expected: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    with pytest.raises(BadSetting) as caught:
        Settings.read({name: str(secret)})
    assert str(caught.value) == f"{name} is '{secret}'; set it to {expected}, or unset it"


def test_a_secret_is_given_once(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("redis://cache")
    with pytest.raises(BadSetting, match="a file only where CHILLFLOW_REDIS_URL is not set"):
        Settings.read({"CHILLFLOW_REDIS_URL_FILE": str(secret), "CHILLFLOW_REDIS_URL": "redis://other"})


DSNS = [
    "host=db port=5433 user=u password=SECRET dbname=x",
    "postgresql://u:SECRET@db:5433/x",
    "postgresql://u:SEC%40SECRET@db:5433/x?sslmode=require",
    "postgresql://db:5433/x?user=u&password=SECRET",
]


@pytest.mark.parametrize("dsn", DSNS)
def test_status_shows_where_but_no_password(dsn: str, tmp_path: Path) -> None:
    redis = "redis://:SECRET@cache:6380/0?password=SECRET"
    given = {"CHILLFLOW_POSTGRES_DSN": dsn, "CHILLFLOW_REDIS_URL": redis}
    cli = Cli({**os.environ, **given, "CHILLFLOW_HOME": str(tmp_path)})
    shown = cli.run("status", code=1).stdout
    assert "SECRET" not in shown
    assert "db:5433/x" in shown
    assert "redis://cache:6380/0" in shown


@pytest.mark.parametrize("dsn", DSNS)
def test_psql_has_no_password_among_its_arguments(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in place of psql tells what it was given."""
    program = tmp_path / "psql"
    program.write_text(f"#!{sys.executable}\nimport os, sys; print(os.environ['PGPASSWORD'][-6:], sys.argv[1:])\n")
    program.chmod(0o755)
    code = (
        "import pathlib, sys; from chillflow.local import postgres; from chillflow.commands.services import psql; "
        f"postgres.binaries = lambda: pathlib.Path({str(tmp_path)!r}); psql(['-c', 'select 1'])"
    )
    env = {**os.environ, "CHILLFLOW_POSTGRES_DSN": dsn}
    said = subprocess.run([sys.executable, "-c", code], env=env, cwd=REPO, capture_output=True, text=True, check=True)
    password, _, arguments = said.stdout.partition(" ")
    assert password == "SECRET"
    assert "SECRET" not in arguments
    assert "host=db" in arguments
    assert "'-c', 'select 1'" in arguments


def test_jobs_in_another_folder_are_given_the_same_places() -> None:
    here = {"CHILLFLOW_HOME": "state", "CHILLFLOW_LAKE": "s3://bucket/lake", "CHILLFLOW_SOURCE": "months", "HOME": "x"}
    given = for_jobs({**here, "CHILLFLOW_POSTGRES_DSN": "host=db", "CHILLFLOW_RAW": ""})
    assert given == {
        "CHILLFLOW_HOME": os.path.abspath("state"),
        "CHILLFLOW_LAKE": "s3://bucket/lake",
        "CHILLFLOW_SOURCE": os.path.abspath("months"),
        "CHILLFLOW_POSTGRES_DSN": "host=db",
    }


def test_the_jobs_api_is_an_address_of_the_web() -> None:
    with pytest.raises(
        BadSetting, match=r"CHILLFLOW_RAY_DASHBOARD is '127\.0\.0\.1:8265'; set it to an address such as"
    ):
        Settings.read({"CHILLFLOW_RAY_DASHBOARD": "127.0.0.1:8265"})
    assert Settings.read({"CHILLFLOW_RAY_DASHBOARD": "https://ray/"}).ray_dashboard == "https://ray"


SASL = {"CHILLFLOW_KAFKA_SECURITY_PROTOCOL": "sasl_ssl"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"CHILLFLOW_KAFKA_SECURITY_PROTOCOL": "TLS"}, "PROTOCOL is 'TLS'; set it to one of PLAINTEXT, SSL, SASL_"),
        (SASL | {"CHILLFLOW_KAFKA_SASL_MECHANISM": "GSSAPI"}, "MECHANISM is 'GSSAPI'; set it to one of PLAIN, SCRAM"),
        (SASL, "CHILLFLOW_KAFKA_SASL_USERNAME is ''; set it to a user's name, as SASL_SSL asks for"),
        (SASL | {"CHILLFLOW_KAFKA_SASL_USERNAME": "u"}, "CHILLFLOW_KAFKA_SASL_PASSWORD is ''; set it to that user's"),
        ({"CHILLFLOW_KAFKA_CA": "/nowhere.pem"}, "CHILLFLOW_KAFKA_CA is '/nowhere.pem'; set it to a file of"),
    ],
)
def test_how_kafka_is_spoken_to_is_checked(given: dict[str, str], said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        Settings.read(given)


def test_kafkas_security_is_for_a_kafka_of_ones_own(tmp_path: Path) -> None:
    certificates = tmp_path / "ca.pem"
    certificates.write_text("PEM")
    given = SASL | {
        "CHILLFLOW_KAFKA_BOOTSTRAP": "kafka:9093", "CHILLFLOW_KAFKA_SASL_MECHANISM": "scram-sha-512",
        "CHILLFLOW_KAFKA_SASL_USERNAME": "u", "CHILLFLOW_KAFKA_SASL_PASSWORD": "SECRET",
        "CHILLFLOW_KAFKA_CA": str(certificates),
    }  # fmt: skip
    settings = Settings.read(given)
    assert "SECRET" not in repr(settings)
    assert kafka_config(settings) == {
        "bootstrap.servers": "kafka:9093", "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "u", "sasl.password": "SECRET", "ssl.ca.pem": "PEM",
    }  # fmt: skip
