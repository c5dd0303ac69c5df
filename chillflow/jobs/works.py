"""What a submitted job is to do: its command line, and the name by which the same work is known again."""

import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from chillflow import __version__
from chillflow.jobs.options import Place
from chillflow.months import spans

_MODULE = re.compile(r"-m\s+chillflow\.jobs\.(\w+)(.*)", re.S)


@dataclass(frozen=True)
class Work:
    """A job with its arguments; works are equal where their arguments mean the same.

    `id` is the submission id of its first attempt, the same wherever and whenever it is submitted.
    """

    job: str
    subject: str
    group: str | None
    id: str
    entrypoint: str

    @classmethod
    def of(cls, command: click.Command, arguments: Sequence[str]) -> "Work":
        """Reads the arguments as the job itself would; raises click.UsageError and ChillFlowErrors of wrong usage.

        Places on the disk that are relative are taken from the current folder, since the job runs in another one.
        """
        job = str(command.name)
        context = command.make_context(f"chillflow submit {job}", list(arguments))
        given, _, _ = command.make_parser(context).parse_args(args=list(arguments))
        meant = {
            str(parameter.name): _plain(context.params[str(parameter.name)])
            for parameter in command.params
            if not _is_default(parameter, context)
        }
        words = ["python", "-m", f"chillflow.jobs.{job}"]
        for parameter in sorted(command.params, key=lambda one: not isinstance(one, click.Argument)):
            name, raw = str(parameter.name), given.get(str(parameter.name))
            if raw and _is_place(parameter) and isinstance(raw, str):
                raw = meant[name] = _absolute(raw)
            words += _words(parameter, raw)
        months = spans(context.params["months"]) if "months" in context.params else ""
        service, group = context.params.get("service", ""), context.params.get("group")
        about = " ".join(word for word in (service, months, f"group {group}" if group else "") if word)
        digest = hashlib.sha256(json.dumps([job, meant], sort_keys=True).encode()).hexdigest()[:8]
        return cls(job, about, group, f"{_slug([job, service, months, group or ''])}-{digest}", shlex.join(words))

    @property
    def name(self) -> str:
        return f"{self.job} {self.subject}".rstrip()

    @property
    def metadata(self) -> dict[str, str]:
        """What the dashboard shows beside the job."""
        shown = {"job_name": self.name, "job": self.job, "about": self.subject, "group": self.group or ""}
        return {name: text for name, text in shown.items() if text} | {"chillflow": __version__}


def words_of(entrypoint: str) -> tuple[str, list[str]] | None:
    """The job's name and arguments in a command line, however it was submitted; None where it is no job of these."""
    found = _MODULE.search(entrypoint)
    try:
        return (found[1], shlex.split(found[2])) if found else None
    except ValueError:
        return None


def _words(parameter: click.Parameter, raw: Any) -> list[str]:
    """A parameter as it is typed; `raw` is what was typed for it, if anything was."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return [parameter.opts[0]] if raw is True else []
    texts = raw if isinstance(raw, list) else [raw] if isinstance(raw, str) else []
    return [f"{parameter.opts[0]}={text}" if isinstance(parameter, click.Option) else text for text in texts]


def _is_default(parameter: click.Parameter, context: click.Context) -> bool:
    """Left out of what a work is known by: options that a later version adds leave the ids as they are."""
    if isinstance(parameter, click.Argument):
        return False
    default = parameter.process_value(context, parameter.get_default(context))
    return bool(context.params[str(parameter.name)] == default)


def _is_place(parameter: click.Parameter) -> bool:
    return isinstance(parameter.type, (click.Path, Place))


def _absolute(place: str) -> str:
    return place if "://" in place else os.path.abspath(place)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _slug(parts: Iterable[str]) -> str:
    """Letters, digits and hyphens: an id becomes part of addresses and names of files."""
    text = "-".join(part for part in parts if part).replace("..", "-to-").replace(",", "-and-")
    return re.sub(r"[^A-Za-z0-9-]+", "-", text)[:80].strip("-")
