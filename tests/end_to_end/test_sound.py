"""The sound beside the picture: untouched, and still at the same moment."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from tests.clips import FLASHES_S, Clips, ffmpeg, h264, moving
from tests.command import RunHere
from tests.measure import audio_bytes_of, flash_and_beep_times, stream_of, times_of
from tests.programs import needs

pytestmark = needs("ffmpeg", "ffprobe")

WAYS = [
    (".mp4", ".mp4"),
    (".mp4", ".mkv"),
    (".mp4", ".ts"),
    (".mkv", ".mp4"),
    (".mkv", ".ts"),
    (".ts", ".mp4"),
    (".ts", ".mkv"),
]


@pytest.mark.parametrize(("suffix", "to"), WAYS)
def test_a_flash_and_its_beep_stay_together(
    suffix: str, to: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    source, output = clips.flash_and_beep(suffix), tmp_path / f"out{to}"
    done = streamer("run", source, "--to", output, "--tier", "plain", "--scale", 1, "--crf", 30)
    assert done.code == 0
    flashes, beeps = flash_and_beep_times(source)
    new_flashes, new_beeps = flash_and_beep_times(output)
    assert len(flashes) == len(beeps) == len(FLASHES_S)
    assert len(new_flashes) == len(new_beeps) == len(FLASHES_S)
    for i in range(len(FLASHES_S)):
        before = beeps[i] - flashes[i]
        after = new_beeps[i] - new_flashes[i]
        assert abs(after - before) < 0.010
        assert abs(after) < 0.045


@pytest.mark.parametrize(("suffix", "to"), WAYS)
def test_the_sound_is_copied_bit_for_bit(
    suffix: str, to: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    source, output = clips.flash_and_beep(suffix), tmp_path / f"out{to}"
    arguments = ("--tier", "plain", "--scale", 1, "--preset", "ultrafast")
    assert streamer("run", source, "--to", output, *arguments).code == 0
    assert audio_bytes_of(output) == audio_bytes_of(source)
    gap_before = times_of(source, "a")[0] - times_of(source)[0]
    gap_after = times_of(output, "a")[0] - times_of(output)[0]
    assert abs(gap_after - gap_before) < 0.0015


@pytest.mark.parametrize("late", ["v", "a"])
def test_what_begins_later_still_begins_later(
    late: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    whole, first = str(clips.flash_and_beep(".mkv")), {"v": "a", "a": "v"}[late]
    source, output = tmp_path / "late.mp4", tmp_path / "out.mp4"
    both = ("-i", whole, "-itsoffset", "0.5", "-i", whole, "-map", f"0:{first}")
    ffmpeg(*both, "-map", f"1:{late}", "-c", "copy", str(source))
    assert streamer("run", source, "--to", output, "--tier", "plain", "--scale", 1).code == 0
    flashes, beeps = flash_and_beep_times(source)
    new_flashes, new_beeps = flash_and_beep_times(output)
    assert abs(abs(beeps[0] - flashes[0]) - 0.5) < 0.05
    for before, after in zip(
        zip(flashes, beeps, strict=True), zip(new_flashes, new_beeps, strict=True), strict=True
    ):
        assert abs((after[1] - after[0]) - (before[1] - before[0])) < 0.010


@pytest.mark.parametrize("to", [".mp4", ".mkv", ".ts"])
def test_sound_that_was_cut_off_is_not_heard_again(
    to: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    # Cut without a new encode: all since the keyframe before is still in the file, behind an edit list.
    source, output = tmp_path / "trimmed.mp4", tmp_path / f"out{to}"
    one_keyframe = clips.made(
        "once.mp4", "-i", str(clips.flash_and_beep(".mp4")), *h264("-g", "99")
    )
    ffmpeg("-ss", "0.8", "-i", str(one_keyframe), "-c", "copy", str(source))
    assert streamer("run", source, "--to", output, "--tier", "plain", "--scale", 1).code == 0
    shown = [time for time in times_of(source) if time >= 0]
    assert len(times_of(output)) == len(shown) < 40 < len(times_of(source))
    # A decoder needs a little of it before what is to be heard.
    assert -0.11 < times_of(output, "a")[0] - times_of(output)[0] < 0.01
    flashes, beeps = flash_and_beep_times(output)
    assert abs(beeps[0] - flashes[0]) < 0.045


def test_the_sound_ends_at_the_same_sample(clips: Clips, streamer: RunHere, tmp_path: Path) -> None:
    # Opus codes 20 ms at a time; how much of the last packet counts is said beside it.
    sound = ("-f", "lavfi", "-i", "sine=duration=0.99:sample_rate=48000", "-c:a", "libopus")
    source = clips.made("opus.mkv", *moving()[:4], *sound, *h264(), "-t", "0.99")
    output = tmp_path / "out.mkv"
    assert streamer("run", source, "--to", output, "--tier", "plain", "--scale", 1).code == 0
    arguments = ("-map", "0:a:0", "-f", "s16le", "-")
    before = ffmpeg("-i", str(source), *arguments)
    assert len(ffmpeg("-i", str(output), *arguments)) == len(before)


def test_outputs_beside_each_other_do_not_disturb_the_sound(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    source = clips.with_sound()
    coarse, exact = tmp_path / "coarse.mkv", tmp_path / "exact.mp4"
    arguments = ("--tier", "plain", "--scale", 1)
    assert streamer("run", source, "--to", coarse, "--to", exact, *arguments).code == 0
    # Matroska counts in milliseconds, MP4 in samples: its times must not have been rounded.
    assert times_of(exact, "a") == times_of(source, "a")
    assert audio_bytes_of(exact) == audio_bytes_of(coarse) == audio_bytes_of(source)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_uncompressed_sound_is_carried(
    suffix: str, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    output = tmp_path / f"out{suffix}"
    assert streamer("run", uncompressed(clips), "--to", output, "--tier", "plain").code == 0
    assert stream_of(output, "a")["codec_name"] == "pcm_s16le"
    arguments = ("-map", "0:a:0", "-f", "s16le", "-")
    before = ffmpeg("-i", str(uncompressed(clips)), *arguments)
    assert ffmpeg("-i", str(output), *arguments) == before


def test_channels_in_an_order_of_their_own_are_carried(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    # As QuickTime has 7.1: the sides before the back.
    noise = "anoisesrc=amplitude=0.1:duration=0.2,aformat=channel_layouts=7.1"
    sound = ("-f", "lavfi", "-i", noise, "-c:a", "pcm_s24le")
    clip = clips.made("eight.mov", *moving()[:4], *sound, "-t", "0.2", *h264())
    copied, coded = tmp_path / "out.mkv", tmp_path / "out.mp4"
    plain = ("--tier", "plain", "--scale", 1)
    assert streamer("run", clip, "--to", copied, "--to", coded, *plain).code == 0
    samples = ("-map", "0:a:0", "-f", "s24le", "-")
    assert ffmpeg("-i", str(copied), *samples) == ffmpeg("-i", str(clip), *samples) != b""
    assert stream_of(coded, "a")["codec_name"] == "aac"
    assert len(times_of(coded, "a")) >= 9


def test_sound_that_a_container_cannot_hold_is_coded_anew(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    output = tmp_path / "out.ts"
    done = streamer("run", uncompressed(clips), "--to", output, "--tier", "plain", "--scale", 1)
    assert done.code == 0
    assert (
        done.err.count("the sound is coded anew to AAC, since .ts files cannot hold pcm_s16le") == 1
    )
    assert stream_of(output, "a")["codec_name"] == "aac"
    samples = ffmpeg("-i", str(output), "-map", "0:a:0", "-f", "s16le", "-ac", "1", "-")
    assert abs(len(samples) / 2 / 44_100 - 1) < 0.05


def test_sound_that_is_coded_anew_stays_with_the_picture(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    source, output = tmp_path / "flac.mkv", tmp_path / "out.ts"
    copied = ("-c:v", "copy", "-c:a", "flac")
    ffmpeg("-i", str(clips.flash_and_beep(".mkv")), *copied, str(source))
    assert streamer("run", source, "--to", output, "--tier", "plain", "--scale", 1).code == 0
    flashes, beeps = flash_and_beep_times(source)
    new_flashes, new_beeps = flash_and_beep_times(output)
    assert len(new_flashes) == len(new_beeps) == len(FLASHES_S)
    for i in range(len(FLASHES_S)):
        assert abs((new_beeps[i] - new_flashes[i]) - (beeps[i] - flashes[i])) < 0.010


def uncompressed(clips: Clips) -> Path:
    sound = ("-f", "lavfi", "-i", "sine=duration=1")
    arguments = (*moving()[:4], *sound, "-t", "1", *h264(), "-c:a", "pcm_s16le")
    return clips.made("uncompressed.mkv", *arguments)


def test_a_file_without_sound_has_none_after(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    assert streamer("run", clips.plain(), "--to", output, "--tier", "plain", "--scale", 1).code == 0
    assert stream_of(output, "a") == {}


def test_sound_that_cannot_be_decoded_is_counted_for_each_output_that_codes_it_anew(
    clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    whole = clips.made(
        "vorbis.mkv", "-i", str(clips.with_sound()), "-c:v", "copy", "-c:a", "libvorbis"
    )
    damaged, report = tmp_path / "damaged.mkv", tmp_path / "report.json"
    with av.open(str(whole)) as before, av.open(str(damaged), "w") as after:
        streams = [after.add_stream_from_template(stream) for stream in before.streams]
        sounds = 0
        for packet in before.demux():
            if packet.size:
                sounds += packet.stream.type == "audio"
                is_spoilt = packet.stream.type == "audio" and sounds in (5, 9, 20)
                native = av.Packet(b"\xff\xff\xff") if is_spoilt else packet
                native.pts, native.dts = packet.pts, packet.dts
                native.time_base = packet.time_base
                native.stream = streams[packet.stream_index]
                after.mux(native)
    both = ("--to", tmp_path / "out.ts", "--to", f"hls:{tmp_path / 'live'}")
    done = streamer("run", damaged, *both, "--tier", "plain", "--scale", 1, "--report", report)
    assert done.code == 0
    assert json.loads(report.read_text())["frames"]["dropped"] == {"audio.refused": 2 * 3}
