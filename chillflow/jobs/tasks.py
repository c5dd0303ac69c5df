"""Plain Ray tasks, several at once, whose ChillFlowErrors come back as values: Ray would wrap one that is raised."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import ray

from chillflow.errors import ChillFlowError

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Tasks(Generic[Key, Value]):
    """Calls of one function on the connected cluster, each known by a key."""

    def __init__(self, function: Callable[..., Value], num_cpus: float = 1.0) -> None:
        self._task = ray.remote(_guarded)
        self._num_cpus = num_cpus
        self._function = function
        self._keys: dict[Any, Key] = {}

    def submit(self, key: Key, name: str, *arguments: Any) -> None:
        """Starts a call; `name` is what the dashboard shows."""
        reference = self._task.options(name=name, num_cpus=self._num_cpus).remote(self._function, *arguments)
        self._keys[reference] = key

    def finished(self, *, wait: bool) -> Iterator[tuple[Key, Value | ChillFlowError]]:
        """The calls that have ended since; with `wait`, all that are left, each as it ends."""
        while self._keys:
            ready, _ = ray.wait(list(self._keys), num_returns=1, timeout=None if wait else 0)
            if not ready:
                return
            for reference in ready:
                yield self._keys.pop(reference), ray.get(reference)


def each(function: Callable[..., Value], name: str, calls: Sequence[tuple[Any, ...]]) -> list[Value]:
    """Calls the function with each of the arguments, side by side; raises the first ChillFlowError."""
    tasks: Tasks[int, Value] = Tasks(function)
    for number, arguments in enumerate(calls):
        tasks.submit(number, name, *arguments)
    found: dict[int, Value] = {}
    for number, outcome in tasks.finished(wait=True):
        if isinstance(outcome, ChillFlowError):
            raise outcome
        found[number] = outcome
    return [found[number] for number in range(len(calls))]


def _guarded(function: Callable[..., Value], *arguments: Any) -> Value | ChillFlowError:
    try:
        return function(*arguments)
    except ChillFlowError as error:
        return error
