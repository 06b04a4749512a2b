from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.latency.crew import Crew, Program, ProgramFailed
from benchmarks.latency.mute_peer import MutePeer
from benchmarks.latency.sightings import Sighting
from benchmarks.latency.stage import JOIN_TRIES, Camera, joined
from tests.command import ROOT

SLEEPS = 'import time; print(\'{"event": "up"}\', flush=True); time.sleep(600)'


def until(condition: Callable[[], object], within_s: float = 60.0) -> None:
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether it runs; one that ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except OSError:
        return False
    return state.split()[0] != "Z"


def test_whatever_was_started_has_ended_when_the_block_is_left() -> None:
    crew = Crew()
    with suppress(RuntimeError), crew:
        program = crew.start("sleeper", sys.executable, "-c", SLEEPS)
        program.wait_for(lambda: program.told("up"), within_s=60, what="starting")
        raise RuntimeError("the measurement broke")
    assert not program.is_running


def test_a_program_that_ignores_being_asked_is_killed() -> None:
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"
    with Crew() as crew:
        program = crew.start("deaf one", sys.executable, "-c", deaf)
        program.wait_for(lambda: program.told("up"), within_s=60, what="starting")
        crew.stop(program, within_s=0.1)
    assert program.process.returncode == -signal.SIGKILL


def test_a_program_that_ends_early_is_named_with_its_last_words() -> None:
    with Crew() as crew:
        program = crew.start("camera", sys.executable, "-c", "import sys; sys.exit('no film')")
        with pytest.raises(
            ProgramFailed, match="the camera ended with 1 before a picture: no film"
        ):
            program.wait_for(lambda: False, within_s=60, what="a picture")


def test_no_secret_of_an_address_is_among_the_last_words() -> None:
    says = "import sys; sys.exit('cannot open rtsp://me:hunter2@camera/1')"
    with Crew() as crew:
        program = crew.start("streamer", sys.executable, "-c", says)
        with pytest.raises(ProgramFailed) as failed:
            program.wait_for(lambda: False, within_s=60, what="a picture")
    assert "hunter2" not in str(failed.value)


def test_a_measurement_is_broken_off_when_one_of_its_programs_ends() -> None:
    with Crew() as crew:
        crew.start("viewer", sys.executable, "-c", "")
        with pytest.raises(ProgramFailed, match="the viewer ended"):
            crew.run_for(600)


def test_what_a_program_sees_is_collected_from_its_lines() -> None:
    says = (
        "print('{\"seen\": [[0, 10, 15000000], [1, 43, 50000000]]}');"
        'print("not json"); print(\'{"event": "done", "pictures": 2}\', flush=True);'
        "import time; time.sleep(600)"
    )
    with Crew() as crew:
        program = crew.start("viewer", sys.executable, "-c", says)
        program.wait_for(lambda: program.told("done"), within_s=60, what="its end")
        assert program.sightings == [Sighting(0, 10, 15_000_000), Sighting(1, 43, 50_000_000)]
        assert program.told("done") == {"event": "done", "pictures": 2}
        assert program.last_words == "not json"


def test_processor_time_is_that_of_the_program() -> None:
    busy = "x = 0\nwhile True: x += 1"
    with Crew() as crew:
        working = crew.start("worker", sys.executable, "-c", busy)
        idle = crew.start("sleeper", sys.executable, "-c", SLEEPS)
        until(lambda: working.cpu_s() > 0.5)
        assert idle.cpu_s() < working.cpu_s()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_program_outlives_a_measurement_that_is_ended(number: signal.Signals) -> None:
    """Also where this process has no time to end them: the kernel does."""
    measures = (
        "import sys; from benchmarks.latency.crew import Crew\n"
        "with Crew() as crew:\n"
        f"    program = crew.start('sleeper', sys.executable, '-c', {SLEEPS!r})\n"
        "    program.wait_for(lambda: program.told('up'), within_s=60, what='starting')\n"
        "    print(program.process.pid, flush=True)\n"
        "    crew.run_for(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", measures],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    with process, process.stdout:
        pid = int(process.stdout.readline())
        assert is_alive(pid)
        os.kill(process.pid, number)
        assert process.wait(60) != 0
        until(lambda: not is_alive(pid))


def test_the_mute_peer_accepts_and_never_answers() -> None:
    with MutePeer() as peer, socket.create_connection(("127.0.0.1", peer.port)) as caller:
        caller.sendall(b"hello")
        until(lambda: peer.accepted == 1)
        caller.settimeout(0.2)
        with pytest.raises(TimeoutError):
            caller.recv(1)


@pytest.mark.parametrize(
    ("sent", "tries"),
    [
        ("[]", JOIN_TRIES),
        ("[[0, 1, time.monotonic_ns() - 60 * 10**9]]", JOIN_TRIES),
        ("[[0, 1, time.monotonic_ns()]]", 1),
    ],
    ids=["nothing", "nothing any more", "pictures"],
)
def test_a_reader_is_tried_again_only_where_the_camera_itself_sends_nothing(
    sent: str, tries: int
) -> None:
    serves = (
        'import json, sys, time; print(\'{"event": "up"}\', flush=True); sys.stdin.readline();'
        f"print(json.dumps({{'event': 'sent', 'seen': {sent}}}), flush=True); time.sleep(600)"
    )
    started: list[Program] = []
    with Crew() as crew:
        server = crew.start("server", sys.executable, "-c", serves, stdin=subprocess.PIPE)
        server.wait_for(lambda: server.told("up"), within_s=60, what="starting")

        def start() -> None:
            started.append(crew.start("reader", sys.executable, "-c", "import sys; sys.exit('no')"))
            server.tell({})
            server.wait_for(lambda: server.told("sent"), within_s=60, what="sending")
            started[-1].wait_for(lambda: False, within_s=60, what="a picture")

        with pytest.raises(ProgramFailed, match="the reader ended with 1"):
            joined(crew, Camera(server, server, "rtsp://127.0.0.1/camera", 0), start)
        assert len(started) == tries
        assert set(crew.programs) == {server, started[-1]}
