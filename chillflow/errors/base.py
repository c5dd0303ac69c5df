"""What every error has in common."""

from dataclasses import fields
from typing import Any, ClassVar


class ChillFlowError(Exception):
    """Base of every error that ChillFlow raises on purpose.

    Subclasses are dataclasses: the fields are the data, `__str__` is one lower-case sentence without a full stop that
    names the fault and the remedy. `exit_code` is what the command line ends with: 1 failed, 2 wrong usage, 3 data
    differ.
    """

    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]


class UsageError(ChillFlowError):
    """The call is wrong; nothing was tried."""

    exit_code: ClassVar[int] = 2


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
