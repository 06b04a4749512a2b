from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings

from benchmarks import gpu_check
from tests.clips import Clips
from tests.command import Done, RunHere, run_here
from tests.device_tests import left_out
from tests.kernels.host_build import HostKernels

# A machine may stand still for seconds in the middle of any example.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuses a test that needs a device and that no check on a device would run."""
    marked = [one.path for one in session.items if one.get_closest_marker(gpu_check.MARK)]
    if found := left_out(marked):
        raise pytest.UsageError(
            f"{found[0]} has tests for a device, and benchmarks.gpu_check does not run it; "
            f"write mark.{gpu_check.MARK} into the file itself, below tests/streamer"
        )


@pytest.fixture(autouse=True)
def no_blocking_in_the_event_loop() -> Iterator[BlockBuster]:
    with blockbuster_ctx("streamer") as guard:
        yield guard


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the program remembers of this machine is not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return Clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def host_kernels(tmp_path_factory: pytest.TempPathFactory) -> HostKernels:
    """Compiled once for all that run kernels on the host."""
    return HostKernels(tmp_path_factory.mktemp("host_kernels"))


@pytest.fixture
def streamer(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> RunHere:
    """The command ``streamer``, called in this process."""

    def run(*arguments: object) -> Done:
        return run_here(monkeypatch, capfd, [str(argument) for argument in arguments])

    return run
