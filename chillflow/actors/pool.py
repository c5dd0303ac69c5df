"""The pool of assemblers as Ray actors: named, visible in the dashboard, ended with their driver."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from chillflow.actors.assembler import Assembler, Services
from chillflow.heartbeats import Status
from chillflow.positions import Group

CPUS = 0.2
"""An assembler declares few: others run beside it, and it waits much."""

SLOT = "assembler_slot"
"""The custom resource of which it takes one: whoever runs a Ray node says how many assemblers may be there."""

CONSUMING = "consuming"


@dataclass
class _Actor:
    handle: Any
    consuming: Any
    heartbeat: Any = None


class RayPool:
    """See members.Pool. `say` hears what assemblers say, once where several say the same."""

    def __init__(self, services: Services, say: Callable[[str], None] = lambda text: None) -> None:
        self._services = services
        self._say = say
        options: dict[str, Any] = {"concurrency_groups": {CONSUMING: 1}}
        self._class: Any = ray.remote(**options)(Assembler)
        self._actors: dict[str, _Actor] = {}
        self._last_said: str | None = None

    def start(self, name: str) -> None:
        handle = self._create(name)
        self._actors[name] = _Actor(handle, handle.consume.options(concurrency_group=CONSUMING).remote())

    def status(self) -> dict[str, Status | None]:
        for actor in self._actors.values():
            if actor.heartbeat is None:
                actor.heartbeat = actor.handle.status.remote()
        asked = [reference for actor in self._actors.values() for reference in (actor.heartbeat, actor.consuming)]
        ready = set(ray.wait(asked, num_returns=len(asked), timeout=0)[0]) if asked else set()
        said: dict[str, Status | None] = {}
        for name, actor in list(self._actors.items()):
            if actor.heartbeat in ready:
                reference, actor.heartbeat = actor.heartbeat, None
                self._hear(name, reference, said)
            if actor.consuming in ready and said.get(name, True) is not None:
                self._look_after(name, actor, said)
        return said

    def assign(self, name: str, group: Group, partition: int) -> None:
        if name in self._actors:
            self._actors[name].handle.assign.remote(group, partition)

    def release(self, name: str, partition: int) -> None:
        if name in self._actors:
            self._actors[name].handle.release.remote(partition)

    def stop(self, name: str, *, spill: bool = False) -> None:
        if name in self._actors:
            self._actors[name].handle.drain.remote(spill)

    def kill(self, name: str) -> None:
        actor = self._actors.pop(name, None)
        if actor is not None:
            ray.kill(actor.handle)

    def close(self) -> None:
        """Ends all at once."""
        for name in list(self._actors):
            self.kill(name)

    def _create(self, name: str) -> Any:
        """Another driver of this cluster, for another warehouse, may have given the name already."""
        options = {"num_cpus": CPUS, "resources": {SLOT: 1}, "max_restarts": 0}
        try:
            return self._class.options(name=name, **options).remote(name, self._services)
        except ValueError:
            job = ray.get_runtime_context().get_job_id()
            return self._class.options(name=f"{name}-of-{job}", **options).remote(name, self._services)

    def _hear(self, name: str, reference: Any, said: dict[str, Status | None]) -> None:
        try:
            said[name], lines = ray.get(reference)
        except ActorUnavailableError:
            return
        except RayError as error:
            self._lose(name, error, said)
            return
        for line in lines:
            if line != self._last_said:
                self._say(line)
            self._last_said = line

    def _look_after(self, name: str, actor: _Actor, said: dict[str, Status | None]) -> None:
        """The loop has come to its end: that it has drained is in the heartbeats, else it has failed."""
        try:
            ray.get(actor.consuming)
        except RayError as error:
            self._lose(name, error, said)

    def _lose(self, name: str, error: RayError, said: dict[str, Status | None]) -> None:
        if isinstance(error, RayTaskError):
            self._say(f"{name} failed: {_cause(error)}")
        elif not isinstance(error, RayActorError):
            raise error
        self.kill(name)
        said[name] = None


def _cause(error: RayTaskError) -> str:
    cause = error.cause
    return f"{type(cause).__name__}: {cause}"
