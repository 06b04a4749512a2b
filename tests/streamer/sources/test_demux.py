from __future__ import annotations

import fcntl
import os
from fractions import Fraction
from pathlib import Path

import pytest

from streamer.clock import ManualClock
from streamer.errors import SourceError
from streamer.media import Color
from streamer.sources.demux import Demuxer
from streamer.sources.pipe import Pipe
from tests.clips import Clips, h264, moving
from tests.programs import needs
from tests.streamer.decoding import opened

pytestmark = needs("ffmpeg")


def notes(path: Path) -> tuple[str, ...]:
    demuxer = opened(path)
    demuxer.close()
    return demuxer.video.notes


def test_what_is_changed_on_the_way_in_is_noted(clips: Clips) -> None:
    stated = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
    assert notes(clips.made("stated.mp4", *moving(frames=2), *h264(), *stated)) == ()
    assert notes(clips.plain()) == (
        "the input states no colour matrix; bt601 is taken for its height",
    )
    ten_bit = ("-vf", "format=yuv444p10le,crop=161:91:7:7", "-c:v", "ffv1")
    assert notes(clips.made("ten.mkv", *moving(frames=2), *ten_bit)) == (
        "yuv444p10le is converted to 8-bit 4:2:0",
        "the input states no colour matrix; bt601 is taken for its height",
        "161x91 is cut to even sizes, as 4:2:0 video needs them",
    )


def test_tracks_that_are_left_out_are_noted(clips: Clips, tmp_path: Path) -> None:
    words = tmp_path / "words.srt"
    words.write_text("1\n00:00:00,100 --> 00:00:00,900\nHello\n")
    clip = str(clips.with_sound(".mkv"))
    many = clips.made(
        "many.mkv",
        *("-i", clip, "-i", clip, "-i", str(words), "-map", "0", "-map", "1:a", "-map", "2"),
        *("-c:v", "copy", "-c:a", "copy", "-c:s", "srt"),
    )
    assert notes(many)[-1] == (
        "its first picture and its first sound are taken, not the other tracks (audio, subtitle)"
    )
    assert not any("tracks" in note for note in notes(clips.with_sound(".mkv")))


def test_sound_that_is_only_announced_is_left_out_and_noted(clips: Clips) -> None:
    tone = ("-f", "lavfi", "-i", "sine=duration=2")
    nothing = ("-af", "atrim=end=0", "-c:a", "aac")
    without = clips.made("announced.ts", *moving()[:4], *tone, *nothing, "-t", "0.2", *h264())
    demuxer = opened(without)
    packets = list(iter(demuxer.next_packet, None))
    demuxer.close()
    assert demuxer.audio is None
    assert [packet.stream for packet in packets] == ["video"] * 6
    assert demuxer.video.notes[-1] == (
        "sound is announced whose rate and channels cannot be found at the beginning; it is left out"
    )


def test_sound_that_begins_after_what_libav_looks_through_is_left_out(clips: Clips) -> None:
    picture = ("-f", "lavfi", "-i", "testsrc2=size=64x64:rate=5:duration=12")
    late = ("-itsoffset", "10", "-f", "lavfi", "-i", "sine=duration=2")
    demuxer = opened(clips.made("late.ts", *picture, *late, *h264(), "-c:a", "aac"))
    kinds = {packet.stream for packet in iter(demuxer.next_packet, None)}
    demuxer.close()
    assert (demuxer.audio, kinds) == (None, {"video"})


def test_the_first_sound_that_is_there_is_taken(clips: Clips) -> None:
    tone = ("-f", "lavfi", "-i", "sine=duration=1:sample_rate=32000")
    demuxer = opened(
        clips.made(
            "second.ts",
            *(*moving()[:4], *tone, "-map", "0", "-map", "1", "-map", "1"),
            *("-filter:a:0", "atrim=end=0", *h264(), "-c:a", "aac", "-t", "0.2"),
        )
    )
    kinds = {packet.stream for packet in iter(demuxer.next_packet, None)}
    demuxer.close()
    assert demuxer.audio is not None
    assert (demuxer.audio.rate_hz, demuxer.audio.channels) == (32_000, 1)
    assert kinds == {"video", "audio"}
    assert not any("first sound" in note for note in demuxer.video.notes)


def test_what_is_known_before_the_first_frame(clips: Clips) -> None:
    film = clips.made("film.mkv", *moving(rate="24000/1001", frames=24), *h264())
    demuxer = opened(film)
    video = demuxer.video
    demuxer.close()
    assert video.fps == Fraction(24_000, 1001)
    assert video.time_base == Fraction(1, 1000)
    assert video.color == Color(matrix="bt601")
    assert video.duration_s == pytest.approx(1.0, abs=0.05)
    assert demuxer.audio is None


def test_a_cover_picture_is_not_taken_for_the_film(clips: Clips, tmp_path: Path) -> None:
    cover = clips.made("cover.png", *moving(size="64x64", frames=1))
    both = clips.made(
        "covered.mp4",
        *("-i", str(cover), "-i", str(clips.plain()), "-map", "0", "-map", "1", "-c", "copy"),
        *("-disposition:v:0", "attached_pic"),
    )
    demuxer = opened(both)
    demuxer.close()
    assert (demuxer.video.codec, demuxer.video.width) == ("h264", 320)


def test_sound_without_a_picture_but_with_a_cover_is_no_video(clips: Clips) -> None:
    cover = clips.made("cover.png", *moving(size="64x64", frames=1))
    song = clips.made(
        "song.mp3",
        *("-f", "lavfi", "-i", "sine=duration=1", "-i", str(cover), "-map", "0", "-map", "1"),
        *("-c:v", "copy", "-disposition:v:0", "attached_pic"),
    )
    with pytest.raises(SourceError, match=r"holds no video \(it has: audio, cover\)"):
        opened(song)


def test_a_track_that_appears_in_a_recording_does_not_cut_off_its_end(
    clips: Clips, tmp_path: Path
) -> None:
    plain = clips.with_sound(".ts")
    more = ("-f", "lavfi", "-i", "sine=frequency=900:duration=1", "-c", "copy", "-c:a:1", "mp2")
    both = clips.made("two-sounds.ts", "-i", str(plain), *more, "-map", "0", "-map", "1")
    path = tmp_path / "broadcast.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in (plain, both, plain)))
    # As in a recording of more than 5 MB, which nobody looks through to its end beforehand.
    options = {"probesize": "40000", "skip_estimate_duration_from_pts": "1"}
    demuxer = Demuxer(str(path), name="-", clock=ManualClock(), format=None, options=options)
    packets = list(iter(demuxer.next_packet, None))
    demuxer.close()
    assert sum(packet.stream == "video" for packet in packets) == 90


def test_a_text_is_not_drawn_as_a_video(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("Dear diary.\n" * 200)
    with pytest.raises(SourceError, match=r"notes\.txt is a text file; use a file with a picture"):
        opened(text)


def test_what_a_pipe_cannot_give_is_said(clips: Clips) -> None:
    clip = clips.plain(".mp4")
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 1 << 20)
    assert os.write(into, clip.read_bytes()) == clip.stat().st_size
    os.close(into)
    pipe = Pipe(out, name="pipe")
    with pytest.raises(SourceError, match=r"^- brings an MP4 whose index comes last"):
        Demuxer(pipe, name="-", clock=ManualClock(), format=None, options={})
    pipe.close()


def test_a_file_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist; check the path"):
        opened(tmp_path / "none.mp4")
    with pytest.raises(SourceError, match=r"cannot be opened as video \(Is a directory\)"):
        opened(tmp_path)
