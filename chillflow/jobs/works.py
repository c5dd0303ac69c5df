"""What a submitted job is to do: its command line, and the name by which the same work is known again."""

import hashlib
import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
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
    group: str | None
    id: str
    entrypoint: str
    metadata: dict[str, str] = field(compare=False)

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
        metadata = metadata_of(context)
        digest = hashlib.sha256(json.dumps([job, meant], sort_keys=True).encode()).hexdigest()[:8]
        return cls(job, metadata.get("group"), f"{_slug(metadata['job_name'])}-{digest}", shlex.join(words), metadata)


def metadata_of(context: click.Context) -> dict[str, str]:
    """What the dashboard shows beside a job that is called like this."""
    given, job = context.params, str(context.command.name)
    months, group = spans(given["months"]) if given.get("months") else "", given.get("group")
    about = " ".join(word for word in (given.get("service"), months, f"group {group}" if group else "") if word)
    shown = {"job_name": f"{job} {about}".rstrip(), "job": job, "about": about, "group": group or ""}
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


def _slug(name: str) -> str:
    """Letters, digits and hyphens: an id becomes part of addresses and names of files."""
    text = name.replace(" group ", "-").replace("..", "-to-").replace(",", "-and-")
    return re.sub(r"[^A-Za-z0-9-]+", "-", text)[:80].strip("-")
