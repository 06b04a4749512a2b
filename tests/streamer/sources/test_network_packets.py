import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.clock import MonotonicClock
from streamer.errors import SourceError
from streamer.rtp.aac_config import specific_config
from streamer.sources.network_address import parse
from streamer.sources.network_http import HttpFiles
from streamer.sources.network_packets import (
    Piece,
    Pieces,
    without_adts,
)
from tests.clips import Clips, ffmpeg, h264, moving
from tests.programs import needs
from tests.streamer.sources.peers import serving

CLOCK = MonotonicClock()
UDP = "udp://@:5000"


def pieces(path: Path) -> tuple[Pieces, list[Piece]]:
    with av.open(str(path)) as container:
        opened = Pieces(container, clock=CLOCK)
        return opened, list(opened)


@needs("ffmpeg")
@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv"])
def test_every_container_gives_the_same_annex_b_and_bare_aac(clips: Clips, suffix: str) -> None:
    opened, got = pieces(clips.with_sound(suffix))
    films = [piece for piece in got if piece.is_video]
    sounds = [piece for piece in got if not piece.is_video]
    assert len(films) == 30
    assert opened.sound is not None
    assert opened.sound.extradata[:2] == specific_config(rate_hz=44_100, channels=1)
    assert not any(piece.payload.startswith((b"\xff\xf1", b"\xff\xf9")) for piece in sounds)
    for film in films:
        assert film.payload.startswith(b"\0\0\0\1")
        # Annex B: no length prefix, and SPS (7) and PPS (8) in front of every keyframe.
        sets = {film.payload[at + 3] & 0x1F for at in starts(film.payload)}
        assert not film.is_keyframe or {7, 8, 5} <= sets
    assert films[0].video is not None
    assert [piece.video for piece in films[1:]] == [None] * 29
    assert films[0].dts == 0


def starts(data: bytes) -> list[int]:
    return [at for at in range(len(data) - 3) if data[at : at + 3] == b"\0\0\1"]


@needs("ffmpeg")
def test_of_several_programmes_the_sound_of_the_picture_is_taken(clips: Clips) -> None:
    programmes = [("160x90", 32_000), ("320x180", 48_000)]
    inputs = [
        argument
        for size, rate in programmes
        for argument in (
            *moving(size=size)[:4],
            *("-f", "lavfi", "-i", f"sine=duration=1:sample_rate={rate}"),
        )
    ]
    apart = ("-program", "title=small:st=0:st=1", "-program", "title=large:st=2:st=3")
    maps = [argument for index in range(4) for argument in ("-map", str(index))]
    coded = ("-t", "1", *h264(), "-c:a", "aac")
    opened, got = pieces(clips.made("programmes.ts", *inputs, *maps, *apart, *coded))
    assert got[0].video is not None
    assert got[0].video.width == 320
    assert opened.sound is not None
    assert opened.sound.rate_hz == 48_000
    # 1024 samples each.
    assert sum(not piece.is_video for piece in got) == pytest.approx(48_000 / 1024, abs=3)


@needs("ffmpeg")
def test_the_largest_programme_is_taken_whichever_keyframe_comes_first(clips: Clips) -> None:
    small, large = moving(size="160x90")[:4], moving(size="320x180")[:4]
    path = clips.made(
        "later.ts",
        *(*small, "-itsoffset", "1", *large, "-map", "0", "-map", "1"),
        *("-program", "title=small:st=0", "-program", "title=large:st=1", *h264(), "-t", "2"),
    )
    probe = {"analyzeduration": parse(UDP).options["analyzeduration"]}
    with av.open(str(path), options=probe) as container:
        assert [film.codec_context.width for film in container.streams.video] == [160, 0]
        got = list(Pieces(container, clock=CLOCK))
    assert got[0].video is not None
    assert got[0].video.width == 320
    assert len(got) == 30
    assert got[0].dts == 0


@needs("ffmpeg")
def test_qualities_that_are_not_shown_are_not_downloaded(tmp_path: Path) -> None:
    everything = "#EXTM3U\n"
    for name, size in (("low", "160x90"), ("high", "320x180")):
        (tmp_path / name).mkdir()
        hls = ("-f", "hls", "-hls_time", "0.5", "-hls_playlist_type", "vod")
        coded = (*moving(size=size, frames=120), *h264(), *hls)
        ffmpeg(*coded, str(tmp_path / name / "live.m3u8"))
        everything += f"#EXT-X-STREAM-INF:BANDWIDTH=100000,RESOLUTION={size}\n{name}/live.m3u8\n"
    (tmp_path / "all.m3u8").write_text(everything)
    with serving(tmp_path) as server:
        url = f"{server.url}/all.m3u8"
        files = HttpFiles(url, may_connect=None, timeout_s=60, note=print)
        with av.open(url, io_open=files.open, options=dict(parse(url).options)) as container:
            assert len(list(Pieces(container, clock=CLOCK))) == 120
    asked = {path for path, _ in server.asked}
    assert {f"/high/live{number}.ts" for number in range(8)} < asked
    # What is in them has to be seen once.
    assert "/low/live0.ts" in asked
    assert not {f"/low/live{number}.ts" for number in range(2, 8)} & asked


@needs("ffmpeg")
@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        (("libx264", "aac"), ("libx265", "aac"), "hevc, after h264"),
        (("mpeg2video", "mp2"), ("libx264", "mp2"), "h264, after mpeg2video"),
        (("libx264", "aac"), ("libx264", "mp2"), "mp2, after aac"),
    ],
)
def test_a_sender_that_comes_back_with_another_codec_has_to_be_opened_anew(
    before: tuple[str, str], after: tuple[str, str], names: str, clips: Clips, tmp_path: Path
) -> None:
    both = b""
    for film, sound in (before, after):
        inputs = (*moving(size="160x90")[:4], "-f", "lavfi", "-i", "sine=duration=2")
        coded = ("-c:v", film, "-pix_fmt", "yuv420p", "-c:a", sound, "-t", "2")
        both += clips.made(f"{film}-{sound}.ts", *inputs, *coded).read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(both)
    got: list[Piece] = []
    with av.open(str(path)) as container:
        opened = Pieces(container, clock=CLOCK)
        with pytest.raises(SourceError, match=f"goes on with {names}"):
            got.extend(opened)
    assert sum(piece.is_video for piece in got) > 40


@needs("ffmpeg")
def test_no_sound_is_missing_where_a_transport_stream_cannot_be_seeked(clips: Clips) -> None:
    with (
        clips.with_sound(".ts").open("rb") as stream,
        # Without a way to seek, as over UDP.
        av.open(SimpleNamespace(read=stream.read), options=dict(parse(UDP).options)) as opened,
    ):
        sounds = [piece for piece in Pieces(opened, clock=CLOCK) if not piece.is_video]
    frame = 1024 * 90_000 / 44_100
    steps = [after.dts - before.dts for before, after in itertools.pairwise(sounds)]
    assert len(sounds) > 40
    assert all(abs(step - frame) < 2 for step in steps)


@needs("ffmpeg")
@pytest.mark.parametrize(("rate", "channels"), [("44100", "1"), ("24000", "1"), ("48000", "2")])
def test_sound_that_changes_is_left_out_until_it_is_again_what_it_was(
    rate: str, channels: str, clips: Clips, tmp_path: Path
) -> None:
    first, other = ("48000", "1"), (rate, channels)
    parts = {}
    for hz, count in (first, other):
        inputs = (*moving(size="160x90")[:4], "-f", "lavfi", "-i", "sine=duration=1")
        coded = ("-t", "1", *h264(), "-c:a", "aac", "-ar", hz, "-ac", count)
        parts[hz, count] = clips.made(f"{hz}-{count}.ts", *inputs, *coded).read_bytes()
    path = tmp_path / "changing.ts"
    path.write_bytes(parts[first] + parts[other] + parts[first])
    noted: list[str] = []
    with av.open(str(path)) as container:
        got = list(Pieces(container, clock=CLOCK, note=noted.append))
    assert sum(piece.is_video for piece in got) == 90
    sounds = sum(not piece.is_video for piece in got)
    assert sounds == pytest.approx(2 * 48_000 / 1024, abs=4)
    (said,) = noted
    assert said == (
        f"its sound goes on with {rate} Hz, {channels} channels, after 48000 Hz, 1 channels, and is "
        "left out; leave its encoder at one"
    )


@needs("ffmpeg")
def test_adts_is_taken_off_and_its_rate_and_channels_are_in_the_config() -> None:
    for rate, channels in ((48_000, 2), (44_100, 1), (8_000, 1)):
        tone = f"sine=sample_rate={rate}:duration=0.3"
        data = ffmpeg(
            *("-f", "lavfi", "-i", tone, "-ac", str(channels), "-c:a", "aac", "-f", "adts", "-")
        )
        context: Any = av.CodecContext.create("aac", "r")
        context.extradata = specific_config(rate_hz=rate, channels=channels)
        samples = 0
        while data:
            size = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
            for frame in context.decode(av.Packet(without_adts(data[:size]))):
                assert (frame.sample_rate, frame.layout.nb_channels) == (rate, channels)
                samples += frame.samples
            data = data[size:]
        assert samples >= 0.29 * rate


@given(st.binary(max_size=40))
def test_noise_is_no_adts_and_no_error(noise: bytes) -> None:
    assert len(without_adts(noise)) <= len(noise)
    assert without_adts(b"\xff\xf1" + bytes(3) + b"\xff\xff" + noise) == b""
