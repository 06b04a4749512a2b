import asyncio
import io
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.child import Child, Message, as_bytes, read_message

PROGRAM = "tests.streamer.child_program"
DEADLINE_S = 60.0


def with_child(play: Callable[[Child], Awaitable[None]]) -> None:
    async def run() -> None:
        child = await Child.start(PROGRAM)
        try:
            async with asyncio.timeout(DEADLINE_S):
                await play(child)
        finally:
            await child.close()

    asyncio.run(run())


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not is_so():  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether it runs; one that has ended and was not yet waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def arguments_of(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


async def keep_sending(child: Child) -> None:
    while True:
        await child.send(Message({"do": "echo"}, bytes(100_000)))


def test_messages_come_back_as_they_were_sent() -> None:
    async def play(child: Child) -> None:
        for payload in (b"", b"\0\xff", bytes(3_000_000)):
            sent = Message({"do": "echo", "text": "Grüße"}, payload)
            # Sent while receiving: three megabytes do not fit into the pipes.
            _, received = await asyncio.gather(child.send(sent), child.receive())
            assert received == sent

    with_child(play)


def test_a_child_that_floods_its_standard_error_goes_on_and_its_end_is_kept() -> None:
    async def play(child: Child) -> None:
        for _ in range(3):
            await child.send(Message({"do": "chatter"}))
            assert await child.receive() == Message({"done": True})
        await until(lambda: child.last_words.endswith("last words"))
        assert len(child.last_words) < 100_000

    with_child(play)


def test_files_where_the_user_is_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('a file of the user')")
    monkeypatch.chdir(tmp_path)

    async def play(child: Child) -> None:
        await child.send(Message({"do": "echo"}))
        assert await child.receive() == Message({"do": "echo"})

    with_child(play)


@pytest.mark.parametrize("wish", ["garbage", "list", "exit"])
def test_what_is_no_message_is_the_end(wish: str) -> None:
    async def play(child: Child) -> None:
        await child.send(Message({"do": wish}))
        assert await child.receive() is None

    with_child(play)


def test_a_child_that_ends_gives_its_exit_code() -> None:
    async def play(child: Child) -> None:
        await child.send(Message({"do": "exit"}))
        assert await child.receive() is None
        assert await child.close(within_s=DEADLINE_S) == 7
        assert not child.is_running

    with_child(play)


def test_closing_kills_a_child_that_hangs_and_what_it_started() -> None:
    async def play(child: Child) -> None:
        await child.send(Message({"do": "hang"}))
        told = await child.receive()
        assert told is not None
        grandchild = int(told.head["grandchild"])
        assert is_alive(grandchild)
        assert await child.close() == -9
        await until(lambda: not is_alive(grandchild))
        assert await child.close() == -9  # again

    with_child(play)


def test_closing_ends_although_what_the_child_said_was_never_read() -> None:
    async def play(child: Child) -> None:
        sending = asyncio.create_task(child.send(Message({"do": "echo"}, bytes(3_000_000))))
        await until(lambda: "paused" in repr(child._process.stdout))
        assert await child.close() == -9
        await asyncio.gather(sending, return_exceptions=True)

    with_child(play)


def test_killing_leaves_no_warning_about_an_unknown_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def play(child: Child) -> None:
        await child.send(Message({"do": "hang"}))
        await child.receive()
        await child.close()

    for _ in range(5):
        with_child(play)
    assert caplog.messages == []


def test_sending_to_a_child_that_is_gone_is_an_os_error() -> None:
    async def play(child: Child) -> None:
        await child.send(Message({"do": "exit"}))
        assert await child.receive() is None
        with pytest.raises(OSError):
            await keep_sending(child)

    with_child(play)


def test_arguments_of_the_child_hold_nothing_but_its_module() -> None:
    async def play(child: Child) -> None:
        await child.send(Message({"do": "echo", "password": "hunter2"}))
        assert await child.receive() is not None
        assert arguments_of(child._process.pid) == [
            os.fsencode(sys.executable),
            b"-P",
            b"-m",
            PROGRAM.encode(),
            b"",
        ]

    with_child(play)


def test_a_payload_stays_out_of_the_representation() -> None:
    assert "secret" not in repr(Message({"is": "packet"}, b"secret"))


@given(
    st.dictionaries(st.text(), st.integers() | st.text() | st.none()),
    st.binary(max_size=300),
)
def test_a_message_reads_back_from_a_stream(head: dict[str, object], payload: bytes) -> None:
    message = Message(head, payload)
    assert read_message(io.BytesIO(as_bytes(message))) == message


@given(st.binary(max_size=80), st.integers(0, 40))
def test_a_message_cut_short_is_the_end(payload: bytes, keep: int) -> None:
    data = as_bytes(Message({"a": 1}, payload))
    assert read_message(io.BytesIO(data[: min(keep, len(data) - 1)])) is None


def test_a_message_of_absurd_length_is_refused_before_it_is_read() -> None:
    with pytest.raises(ValueError, match="is no message"):
        read_message(io.BytesIO(b"\xff" * 8))
