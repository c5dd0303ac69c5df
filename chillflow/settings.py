"""One frozen Settings, from the environment's CHILLFLOW_* variables; docs/settings.md lists them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chillflow.errors import BadSetting

TLC = "https://d37ci6vzurychx.cloudfront.net/trip-data"
FILES = ("CHILLFLOW_POSTGRES_DSN_FILE", "CHILLFLOW_REDIS_URL_FILE")
"""Settings that hold passwords may lie in files, as containers are given them."""


PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True)
class KafkaSecurity:
    """How a Kafka of one's own is spoken to; `ca` is the path of certificates in PEM form, None for the system's."""

    protocol: str = "PLAINTEXT"
    mechanism: str = "PLAIN"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None

    @classmethod
    def read(cls, given: Mapping[str, str]) -> "KafkaSecurity":
        """Raises BadSetting, which never shows a password."""
        found = cls(
            protocol=_one_of(PROTOCOLS, "CHILLFLOW_KAFKA_SECURITY_PROTOCOL", given),
            mechanism=_one_of(MECHANISMS, "CHILLFLOW_KAFKA_SASL_MECHANISM", given),
            username=given.get("CHILLFLOW_KAFKA_SASL_USERNAME"),
            password=given.get("CHILLFLOW_KAFKA_SASL_PASSWORD"),
            ca=Path(given["CHILLFLOW_KAFKA_CA"]).absolute() if "CHILLFLOW_KAFKA_CA" in given else None,
        )
        if found.protocol.startswith("SASL"):
            if not found.username:
                raise BadSetting("CHILLFLOW_KAFKA_SASL_USERNAME", "", f"a user's name, as {found.protocol} asks for")
            if not found.password:
                raise BadSetting("CHILLFLOW_KAFKA_SASL_PASSWORD", "", "that user's password")
        if found.ca and not found.ca.is_file():
            raise BadSetting("CHILLFLOW_KAFKA_CA", str(found.ca), "a file of certificates in PEM form that is there")
        return found


@dataclass(frozen=True)
class Settings:
    """What the commands and jobs are told by their environment; everything below them receives plain values."""

    home: Path
    lake: str
    raw: str
    source: str
    postgres_dsn: str | None
    redis_url: str | None
    kafka_bootstrap: str | None
    kafka_security: KafkaSecurity
    ray_address: str | None
    ray_dashboard: str | None
    cpus: int

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Settings from `environ`; an empty variable counts as unset. Raises BadSetting."""
        given = _with_files({name: value for name, value in environ.items() if value})
        home = Path(given.get("CHILLFLOW_HOME", ".chillflow")).absolute()
        return cls(
            home=home,
            lake=given.get("CHILLFLOW_LAKE", str(home / "lake")),
            raw=given.get("CHILLFLOW_RAW", str(home / "raw")),
            source=given.get("CHILLFLOW_SOURCE", TLC),
            postgres_dsn=given.get("CHILLFLOW_POSTGRES_DSN"),
            redis_url=given.get("CHILLFLOW_REDIS_URL"),
            kafka_bootstrap=given.get("CHILLFLOW_KAFKA_BOOTSTRAP"),
            kafka_security=KafkaSecurity.read(given),
            ray_address=given.get("CHILLFLOW_RAY_ADDRESS"),
            ray_dashboard=_web("CHILLFLOW_RAY_DASHBOARD", given.get("CHILLFLOW_RAY_DASHBOARD")),
            cpus=_cpus(given["CHILLFLOW_CPUS"]) if "CHILLFLOW_CPUS" in given else os.cpu_count() or 1,
        )


def for_jobs(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The settings of `environ` as a job in another folder has to be given them."""
    given = {name: value for name, value in environ.items() if name.startswith("CHILLFLOW_") and value}
    for name in ("CHILLFLOW_HOME", "CHILLFLOW_LAKE", "CHILLFLOW_RAW", "CHILLFLOW_SOURCE", "CHILLFLOW_KAFKA_CA", *FILES):
        if name in given and "://" not in given[name]:
            given[name] = os.path.abspath(given[name])
    return given


def _web(variable: str, text: str | None) -> str | None:
    if text is not None and not text.startswith(("http://", "https://")):
        raise BadSetting(variable, text, "an address such as http://127.0.0.1:8265")
    return text.rstrip("/") if text else None


def _one_of(choices: tuple[str, ...], variable: str, given: Mapping[str, str]) -> str:
    """The setting in upper case; the first of the choices where it is not set."""
    text = given.get(variable, choices[0])
    if text.upper() not in choices:
        raise BadSetting(variable, text, f"one of {', '.join(choices)}")
    return text.upper()


def _with_files(given: dict[str, str]) -> dict[str, str]:
    return given | {name.removesuffix("_FILE"): _content(name, given) for name in FILES if name in given}


def _content(name: str, given: Mapping[str, str]) -> str:
    path, plain = given[name], name.removesuffix("_FILE")
    if plain in given:
        raise BadSetting(name, path, f"a file only where {plain} is not set")
    try:
        text = Path(path).read_text().strip()
    except (OSError, ValueError) as fault:
        raise BadSetting(name, path, "a file that can be read") from fault
    if not text:
        raise BadSetting(name, path, "a file that is not empty")
    return text


def _cpus(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise BadSetting("CHILLFLOW_CPUS", text, "a whole number from 1 on")
    return int(text)
