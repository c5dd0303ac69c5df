"""Services, embedded or not."""

from dataclasses import dataclass

from chillflow.errors.base import ChillFlowError


@dataclass(eq=False)
class ServiceDown(ChillFlowError):
    """A service that does not answer; never shows a password."""

    service: str
    address: str
    why: str

    def __str__(self) -> str:
        return (
            f"{self.service} at {self.address} does not answer ({self.why}); "
            "start the embedded services with `chillflow up`, or check the address with `chillflow status`"
        )


@dataclass(eq=False)
class NotRunning(ChillFlowError):
    """A service that was neither started nor named."""

    service: str
    variable: str

    def __str__(self) -> str:
        return f"{self.service} is not running; start it with `chillflow up`, or name another one in {self.variable}"


@dataclass(eq=False)
class PortUnusable(ChillFlowError):
    """A port that could not be listened on."""

    host: str
    port: int
    why: str

    def __str__(self) -> str:
        return f"cannot answer Prometheus at {self.host}:{self.port} ({self.why}); name another port"


@dataclass(eq=False)
class DoctorFound(ChillFlowError):
    """What `chillflow doctor` found wrong."""

    checks: tuple[str, ...]

    def __str__(self) -> str:
        names = ", ".join(dict.fromkeys(self.checks))
        return f"something is wrong with {names}; each line above names its remedy"


@dataclass(eq=False)
class DemoFailed(ChillFlowError):
    why: str

    def __str__(self) -> str:
        return f"the demo stopped: {self.why}; its logs lie in the demo's folder under CHILLFLOW_HOME"


@dataclass(eq=False)
class ServiceFailed(ChillFlowError):
    """An embedded service that does not come up."""

    service: str
    why: str
    log: str
    last_line: str

    def __str__(self) -> str:
        said = f" (its last words: {self.last_line})" if self.last_line else ""
        seen = f"see {self.log}, then " if self.log else ""
        return f"{self.service} cannot start: {self.why}{said}; {seen}run `chillflow down` and `chillflow up` again"


@dataclass(eq=False)
class HomeUnusable(ChillFlowError):
    """What the folder of the embedded services remembers cannot be read."""

    path: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"cannot use {self.path}: {self.why}; {self.remedy}"
