"""The one door to TensorRT: the package, its log, and what its failures mean."""

from __future__ import annotations

import logging
from collections import deque
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from threading import Event
from types import ModuleType
from typing import Any

from streamer.errors import EngineError
from streamer.infer.engine import pip_install

_log = logging.getLogger(__name__)

OLDEST, TOO_NEW = (10, 12), (12, 0)
WHEEL = "tensorrt>=10.12,<12"
"""10.12 can turn all of it off but strong typing, 11 has nothing else."""

MOST = 300
"""Characters of what it said that are shown."""

_INIT = "cuda initialization failure with error: "

_STEPS = (
    # "Insufficient" memory and workspace are the builder's words for a kernel that it leaves out.
    (
        ("out of memory", "outofmemory", "insufficient memory", "insufficient workspace"),
        "free memory of the device, use a smaller network, or use another --backend",
    ),
    (
        (_INIT + "35", "driver version is insufficient"),
        "the driver is older than its CUDA: update the driver, or install tensorrt-cu12",
    ),
    (
        (_INIT + "100", "no cuda-capable device"),
        "see that nvidia-smi lists a device and CUDA_VISIBLE_DEVICES names one",
    ),
    ((_INIT + "803",), "restart after the driver's update, its parts differ"),
)
"""By words of what it said, in small letters."""

# The runtime and its wheel of mere bindings, which is there alone where the parts of 11 were
# installed one by one.
PACKAGES = ("tensorrt", "tensorrt_bindings")


def is_there() -> bool:
    """Whether one of the packages is installed, without loading it."""
    try:
        return any(find_spec(name) is not None for name in PACKAGES)
    except ValueError:
        return False


def load() -> ModuleType:
    """The package; raises ``EngineError`` where it is missing, broken or of another age."""
    broken: ImportError | None = None
    for name in PACKAGES:
        try:
            api = import_module(name)
        except ModuleNotFoundError:
            continue
        except ImportError as error:
            broken = broken or error
            continue
        # In 11.1 the first of them could be imported and held nothing.
        if hasattr(api, "Builder"):
            return _checked(api)
    if broken is not None:
        raise EngineError(
            f"TensorRT is installed and cannot be loaded ({broken}); install its libraries with it: "
            f"{pip_install(WHEEL)}, or use another --backend"
        ) from broken
    raise EngineError(
        "the backend tensorrt needs the package tensorrt, which is not installed; "
        f"run: {pip_install(WHEEL)}, or use another --backend"
    )


@cache
def log_of(api: Any) -> Any:
    """The one logger of this process: TensorRT takes no second one."""

    class Log(api.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
        """Keeps what went wrong, as TensorRT's functions themselves only say that something did."""

        def __init__(self) -> None:
            super().__init__()
            self._said: deque[str] = deque(maxlen=8)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (api.ILogger.Severity.ERROR, api.ILogger.Severity.INTERNAL_ERROR):
                self._said.append(msg.strip())
                _log.info("%s", msg.strip())
            else:
                _log.debug("%s", msg.strip())

        def take(self) -> str:
            """What was said since the last time, the cause first; then it is forgotten."""
            said = "; ".join(dict.fromkeys(self._said))
            self._said.clear()
            return " ".join(said.split())

    return Log()


def monitor_of(api: Any, abandoned: Event) -> Any:
    """What ends a build soon after ``abandoned`` is set; the builder asks it after every step."""

    class Monitor(api.IProgressMonitor):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """How far it is interests nobody."""

        def phase_finish(self, phase_name: str) -> None:
            """See ``phase_start``."""

        def step_complete(self, phase_name: str, step: int) -> bool:
            return not abandoned.is_set()

    return Monitor()


def failure(api: Any, what: str, said: str) -> EngineError:
    """The error for ``what`` could not be done, with the next step that fits what TensorRT said."""
    lowered = said.lower()
    fitting = (step for words, step in _STEPS if any(word in lowered for word in words))
    step = next(fitting, "use --backend ort-cuda or ort-cpu, and please report it")
    said = said[:MOST] or "it does not say why"
    return EngineError(f"TensorRT {api.__version__} cannot {what} ({said}); {step}")


def _checked(api: ModuleType) -> ModuleType:
    numbers = tuple(int(part) for part in api.__version__.split(".")[:2])
    if not OLDEST <= numbers < TOO_NEW:
        raise EngineError(
            f"TensorRT {api.__version__} is installed, 10.12 to 11 can be used; "
            f"run: {pip_install(WHEEL)}"
        )
    return api
