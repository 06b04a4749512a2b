from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from tests.clips import Clips
from tests.command import Done, RunHere, run_here


@pytest.fixture(autouse=True)
def no_blocking_in_the_event_loop() -> Iterator[BlockBuster]:
    with blockbuster_ctx("streamer") as guard:
        yield guard


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return Clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def streamer(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> RunHere:
    """The command ``streamer``, called in this process."""

    def run(*arguments: object) -> Done:
        return run_here(monkeypatch, capfd, [str(argument) for argument in arguments])

    return run
