from __future__ import annotations

import os
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Thread

import pytest

from streamer.errors import SinkError
from streamer.media import Color
from streamer.sinks.raw import MOST_WAITING, RawOutputs, Y4mSink
from tests.streamer.pictures import frame_of, noise


def test_every_plane_is_written_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "out.y4m"
    sink = Y4mSink(str(path), fps=Fraction(24_000, 1001))
    pictures = [noise(width=32, height=18, seed=seed, padding=9 * seed) for seed in (0, 1)]
    for planes in pictures:
        sink.write(frame_of(planes))
    sink.close()
    header = b"YUV4MPEG2 W32 H18 F24000:1001 Ip A16:11 C420jpeg XCOLORRANGE=LIMITED\n"
    bodies = [b"FRAME\n" + b"".join(p.tobytes() for p in planes) for planes in pictures]
    assert path.read_bytes() == header + b"".join(bodies)
    assert sink.frames == 2


def test_full_range_and_an_unknown_rate_are_stated(tmp_path: Path) -> None:
    path = tmp_path / "out.y4m"
    sink = Y4mSink(str(path), fps=None)
    frame = frame_of(noise(width=2, height=2))
    sink.write(replace(frame, color=Color(matrix="bt709", range="full")))
    sink.close()
    assert path.read_bytes().startswith(b"YUV4MPEG2 W2 H2 F30:1 ")
    assert b" XCOLORRANGE=FULL\n" in path.read_bytes()


def test_a_closed_standard_output_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it after >&-
    sink = Y4mSink("-", fps=None)
    with pytest.raises(SinkError, match="standard output is closed; use a pipe or a file"):
        sink.write(frame_of(noise(width=2, height=2)))
    sink.close()


def test_a_new_size_is_refused(tmp_path: Path) -> None:
    sink = Y4mSink(str(tmp_path / "out.y4m"), fps=None)
    sink.write(frame_of(noise(width=32, height=18)))
    with pytest.raises(SinkError, match=r"from 32x18 to 16x18, which Y4M cannot hold; write \.mkv"):
        sink.write(frame_of(noise(width=16, height=18)))
    sink.close()


def test_a_target_that_takes_no_more_is_said_and_closed() -> None:
    before = set(os.listdir("/proc/self/fd"))
    sink = Y4mSink("/dev/full", fps=None)
    full = r"\(No space left on device\).*; free some space or choose another file"
    with pytest.raises(SinkError, match=rf"y4m:/dev/full takes no more {full}"):
        sink.write(frame_of(noise(width=256, height=256)))
    with pytest.raises(SinkError, match=rf"could not be finished {full}"):
        sink.close()
    sink.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_what_cannot_be_opened_is_said_with_a_way_out(tmp_path: Path) -> None:
    sink = Y4mSink(str(tmp_path), fps=None)
    with pytest.raises(SinkError, match=r"\(Is a directory\) after 0 frames; choose another file"):
        sink.write(frame_of(noise(width=2, height=2)))
    sink.close()


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    for _ in range(2):
        sink = Y4mSink(str(tmp_path / "out.y4m"), fps=None, is_live=True)
        sink.write(frame_of(noise(width=32, height=18)))
        sink.close()
    first, second = (tmp_path / name for name in ("out.y4m", "out-2.y4m"))
    assert first.read_bytes() == second.read_bytes()


def test_nothing_is_opened_before_the_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "out.y4m"
    Y4mSink(str(path), fps=None).close()
    assert not path.exists()


def test_a_reader_that_pauses_costs_itself_alone() -> None:
    lost: list[str] = []
    read, write = os.pipe()
    name = f"y4m:/dev/fd/{write}"
    outputs = RawOutputs(
        [Y4mSink(name.removeprefix("y4m:"), fps=None, is_live=True)],
        are_alone=False,
        lost=lost.append,
    )
    frame = frame_of(noise(width=320, height=180))
    # Each is more than a pipe holds, and nobody reads.

    def write_all() -> None:
        for _ in range(40):
            outputs.write(frame)

    writing = Thread(target=write_all, daemon=True)
    writing.start()
    writing.join(60)
    assert not writing.is_alive(), "it was waited for"
    assert set(lost) == {name}
    assert len(lost) >= 40 - MOST_WAITING - 1
    with os.fdopen(read, "rb") as reader:
        got: list[bytes] = []
        reading = Thread(target=lambda: got.append(reader.read()))
        reading.start()
        outputs.close()
        os.close(write)
        reading.join(60)
    assert outputs.failures == []
    head, *bodies = got[0].split(b"FRAME\n")
    assert head.startswith(b"YUV4MPEG2 W320 H180 ")
    assert bodies == [b"".join(plane.tobytes() for plane in frame.planes)] * (40 - len(lost))


def test_a_live_reader_that_never_reads_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.sinks.raw.FINISH_S", 0.1)
    read, write = os.pipe()
    sinks = [Y4mSink(f"/dev/fd/{write}", fps=None, is_live=True)]
    outputs = RawOutputs(sinks, are_alone=False, lost=lambda _: None)
    outputs.write(frame_of(noise(width=320, height=180)))
    outputs.close()
    os.close(write)
    os.close(read)  # its thread ends by that
    assert [str(failure) for failure in outputs.failures] == [
        f"y4m:/dev/fd/{write} lacks its end, its reader takes nothing; see why it stands still"
    ]


def test_a_live_reader_that_is_gone_is_said_once() -> None:
    read, write = os.pipe()
    target = f"/dev/fd/{write}"
    outputs = RawOutputs([Y4mSink(target, fps=None)], are_alone=True, lost=lambda _: None)
    frame = frame_of(noise(width=320, height=180))
    outputs.write(frame)
    assert os.read(read, 9) == b"YUV4MPEG2"
    os.close(read)

    def write_on() -> None:
        while True:
            outputs.write(frame)

    with pytest.raises(SinkError, match=r"takes no more \(Broken pipe\).*see why its reader ended"):
        write_on()
    outputs.close()
    os.close(write)
    assert len(outputs.failures) == 1
