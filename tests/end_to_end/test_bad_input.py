"""What is wrong is said in one sentence, with exit code 2, and nothing else happens."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clips import Clips, h264, holed, moving
from tests.command import ROOT, Done, RunHere, started
from tests.measure import pictures_of, psnr, times_of
from tests.programs import needs

pytestmark = needs("ffmpeg", "ffprobe")

PLAIN = ("--tier", "plain", "--scale", "1")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{clip}", "--to", "o.mp4", "--scale", "5"], "use 1, 2, 3 or 4"),
        (["{clip}", "--to", "o.mp4", "--budget-ms", "0"], "use 1 to 60000"),
        (["{clip}", "--to", "o.mp4", "--duration", "0"], "use more than 0 seconds"),
        (["{clip}", "--to", "o.mp4", "--duration", "nan"], "use more than 0 seconds"),
        (["{clip}", "--to", "o.mp4", "--crf", "52"], "use 0 (lossless) to 51 (worst)"),
        (["{clip}", "--to", "o.mp4", "--to", "hls:o", "--crf", "18"], "use --bitrate-kbps here"),
        (
            ["synthetic:", "--to", "o.mp4", "--duration", "1", "--crf", "4"],
            "crf is for runs from file to file",
        ),
        (["{clip}", "--to", "o.mp4", "--bitrate-kbps", "5"], "use 100 to 200000"),
        (
            ["{clip}", "--to", "o.mp4", "--bitrate-kbps", "500", "--crf", "4"],
            "not both; leave one of them out",
        ),
        (
            ["{clip}", "--to", "o.mp4", "--tier", "plain", "--backend", "native"],
            "the backend native could run; leave one of them out",
        ),
        (["{clip}", "--to", "o.mp4", "--preset", "slowest"], "use one of: ultrafast"),
        (["{clip}", "--to", "o.mp4", "--backend", "magic"], "use one of: auto, reference"),
        (["{clip}", "--to", "o.mp4", "--tier", "magic"], "leave out the tier"),
        (["{clip}", "--to", "o.mp4", "--denoise", "maybe"], "use auto, on, off"),
        (["{clip}", "--to", "o.mp4", "--colour", "red"], "No such option"),
        (["{clip}", "--to", "o.mp4", "--scale", "two"], "Invalid value for '--scale'"),
        (["{clip}", "--to", "o.mp4", "--report", "nowhere/r.json"], "does not exist"),
        (["{clip}", "--to", "o.avi"], "use webrtc:, rtsp:"),
        (["{clip}", "--to", "ftp://me:secret@host/live"], "use webrtc:, rtsp:"),
        (["{clip}", "--to", "nowhere/o.mp4"], "the folder of nowhere/o.mp4 does not exist"),
        (["{clip}", "--to", "y4m:nowhere/o.y4m"], "the folder of nowhere/o.y4m does not exist"),
        (["{clip}", "--to", "o.mp4", "--to", "o.mp4"], "give each --to its own file"),
        (["{clip}", "--to", "{clip}"], "write to another file"),
        (["{clip}"], "add --to with webrtc:"),
        (["", "--to", "o.mp4"], "the source is empty; use rtsp://"),
        (["missing.mp4", "--to", "o.mp4"], "missing.mp4 does not exist; check the path"),
        (["gopher://x/y", "--to", "o.mp4"], "gopher:// cannot be read; use"),
        (["ftp://me:secret@host/live", "--to", "o.mp4"], "ftp:// cannot be read; use rtsp://"),
        (["device:/dev/no-such", "--to", "o.mp4"], "/dev/no-such does not exist"),
        (["device:/dev/null", "--to", "o.mp4"], "/dev/null cannot be opened as video"),
        (["device:video0", "--to", "o.mp4"], "names no device; use device:/dev/video0"),
        (["device:/dev/video0?colour=red", "--to", "o.mp4"], "'colour=red' says nothing"),
        (["synthetic:wide", "--to", "o.mp4"], "synthetic:"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_sentence(
    arguments: list[str],
    said: str,
    clips: Clips,
    streamer: RunHere,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = [argument.format(clip=clips.plain()) for argument in arguments]
    done = streamer("run", *filled)
    assert said in done.sentence
    assert "secret" not in done.sentence
    assert done.out == ""
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_video_is_refused_in_one_sentence(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    text, empty = tmp_path / "notes.txt", tmp_path / "empty.mp4"
    text.write_text("Dear diary, today I was no video.\n" * 40)
    empty.write_bytes(b"")
    sound = clips.made("tone.m4a", "-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac")
    whole = clips.plain().read_bytes()
    headless = tmp_path / "headless.mp4"
    headless.write_bytes(whole[: len(whole) // 2])
    for source in (text, empty, tmp_path, sound, headless):
        output = tmp_path / "out.mp4"
        sentence = streamer("run", source, "--to", output).sentence
        assert source.name in sentence
        assert ";" in sentence
        assert not output.exists()


def test_a_command_that_does_not_exist_is_refused(streamer: RunHere) -> None:
    assert "No such command" in streamer("dance").sentence


def test_an_older_output_stays_when_the_input_cannot_be_opened(
    streamer: RunHere, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    output.write_bytes(b"precious")
    assert streamer("run", tmp_path / "missing.mp4", "--to", output).code == 2
    assert output.read_bytes() == b"precious"


@pytest.mark.parametrize("linked", ["out.mp4", "out.mkv", "out.ts", "out.y4m"])
def test_a_full_disk_ends_the_run_in_one_sentence(
    linked: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    output = tmp_path / linked
    output.symlink_to("/dev/full")
    sentence = streamer("run", clips.plain(), "--to", output, *PLAIN).sentence
    assert "No space left on device" in sentence
    assert linked in sentence


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts"])
def test_what_was_written_before_the_disk_was_full_plays(
    name: str, clips: Clips, tmp_path: Path
) -> None:
    picture = moving(size="160x90", frames=600)
    source = clips.made("twenty-seconds.mp4", *picture, *h264("-preset", "ultrafast"))
    output = tmp_path / name
    # In blocks of 512 or 1024 bytes, by the shell; it is several times as long.
    limited = f'ulimit -f 600; exec {sys.executable} -m streamer run "$@"'
    running = subprocess.run(
        ["sh", "-c", limited, "sh", source, "--to", output, *PLAIN, "--crf", "1"],
        cwd=ROOT,
        capture_output=True,
        timeout=300,
        check=False,
    )
    sentence = Done(running.returncode, "", running.stderr.decode()).sentence
    assert "could not be written further (File too large); what is in it plays" in sentence
    assert len(pictures_of(output)) > 20


def test_what_an_hls_folder_shows_stays_when_nothing_more_can_be_written(
    clips: Clips, tmp_path: Path
) -> None:
    # Five seconds of next to nothing, and then segments that are larger than a file may be.
    noise = "color=gray:size=320x180:rate=15:duration=10,noise=alls=100:allf=t:enable='gte(t,5)'"
    source = clips.made("noise.mp4", "-f", "lavfi", "-i", noise, *h264("-preset", "ultrafast"))
    folder, fast = tmp_path / "live", ("--bitrate-kbps", "8000")
    limited = f'ulimit -f 200; exec {sys.executable} -m streamer run "$@"'
    running = subprocess.run(
        ["sh", "-c", limited, "sh", source, "--to", f"hls:{folder}", *PLAIN, *fast],
        cwd=ROOT,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert running.returncode == 2, running.stderr
    assert b"hls:live lacks its end" in running.stderr
    assert len(times_of(folder / "index.m3u8")) >= 45
    assert len(list(folder.iterdir())) == 2 + (folder / "index.m3u8").read_text().count("#EXTINF")


@pytest.mark.parametrize(
    ("first", "into", "reason"),
    [
        ("", "/dev/full", "No space left on device"),
        # As where a quota is used up.
        ("ulimit -f 0; ", "answer.txt", "File too large"),
    ],
    ids=["full", "limited"],
)
def test_standard_output_that_takes_no_more_is_said(
    first: str, into: str, reason: str, tmp_path: Path
) -> None:
    with (tmp_path / into).open("w") as answer:
        running = subprocess.run(
            ["sh", "-c", f'{first}exec "$@"', "", sys.executable, "-m", "streamer", "--help"],
            cwd=ROOT,
            stdout=answer,
            stderr=subprocess.PIPE,
            timeout=300,
            check=False,
        )
    sentence = Done(running.returncode, "", running.stderr.decode()).sentence
    assert sentence == f"the answer could not be written ({reason}); free some space"


def test_an_output_that_fails_does_not_stop_the_others(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    full, good = tmp_path / "full.ts", tmp_path / "good.mp4"
    full.symlink_to("/dev/full")
    sentence = streamer("run", clips.plain(), "--to", full, "--to", good, *PLAIN).sentence
    assert "full.ts" in sentence
    assert len(pictures_of(good)) == 30


def test_a_file_cut_in_the_middle_gives_what_it_holds(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    whole = clips.made("fast.mp4", *moving(), *h264(), "-movflags", "+faststart")
    cut, output = tmp_path / "cut.mp4", tmp_path / "out.mp4"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 6 // 10])
    sentence = streamer("run", cut, "--to", output, *PLAIN).sentence
    assert "cut.mp4 ends early" in sentence
    ours, theirs = pictures_of(output), pictures_of(whole)
    assert 8 <= len(ours) < 30
    # The last one was cut itself.
    assert min(psnr(a, b) for a, b in zip(ours[:-1], theirs, strict=False)) > 30


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_a_matroska_file_cut_in_the_middle_is_said(
    suffix: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    coded = h264() if suffix == ".mkv" else ("-c:v", "libvpx", "-b:v", "1M", "-g", "10")
    whole = clips.made(f"whole{suffix}", *moving(), *coded).read_bytes()
    cut, output = tmp_path / f"cut{suffix}", tmp_path / "out.mp4"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    assert f"cut{suffix} ends early" in streamer("run", cut, "--to", output, *PLAIN).sentence
    assert 8 <= len(pictures_of(output)) < 30


def test_damage_in_the_middle_is_said_and_costs_no_more_than_it_hit(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    data = bytearray(clips.plain(".ts").read_bytes())
    damaged, output = tmp_path / "damaged.ts", tmp_path / "out.mp4"
    middle = len(data) // 188 // 2 * 188
    for packet in range(middle, middle + 20 * 188, 188):
        data[packet + 90 : packet + 100] = bytes(10)
    damaged.write_bytes(data)
    sentence = streamer("run", damaged, "--to", output, *PLAIN).sentence
    assert "damaged.ts is damaged" in sentence
    ours, theirs = pictures_of(output), pictures_of(clips.plain(".ts"))
    assert len(ours) == len(theirs) == 30
    assert min(psnr(a, b) for a, b in zip(ours[:10], theirs, strict=False)) > 30


def test_a_transport_stream_with_a_hole_is_said_to_be_damaged(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    source, output = holed(clips, tmp_path), tmp_path / "out.mp4"
    assert "holed.ts is damaged" in streamer("run", source, "--to", output, *PLAIN).sentence
    assert len(pictures_of(output)) >= 20


def test_a_port_in_use_is_said(clips: Clips) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = started("run", str(clips.plain()), "--to", "webrtc:", "--port", str(port))
        said = running.communicate(timeout=180)[1].decode()
    assert Done(running.returncode, "", said).sentence.startswith(
        f"cannot listen on 127.0.0.1:{port}: "
    )


def test_nothing_else_is_printed_by_a_process_of_its_own(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(bytes(range(256)) * 64)
    running = started("run", str(garbage), "--to", str(tmp_path / "out.mp4"))
    out, said = running.communicate(timeout=60)
    assert running.returncode == 2
    assert out == b""
    assert said.startswith(b"streamer: ")
    assert said.count(b"\n") == 1
