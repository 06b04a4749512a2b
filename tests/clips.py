"""Small clips for the tests, made by FFmpeg once per run of the tests."""

from __future__ import annotations

from pathlib import Path

import av

from tests.programs import output_of

SIZE = "320x180"
WIDTH, HEIGHT = 320, 180

FLASHES_S = (0.5, 1.0, 1.5)
"""When the clip of ``flash_and_beep`` is bright and loud."""


def ffmpeg(*arguments: str, given: bytes = b"") -> bytes:
    """What ``ffmpeg`` writes to standard output."""
    return output_of("ffmpeg", "-v", "error", "-nostdin", "-y", *arguments, given=given)


def moving(*, size: str = SIZE, rate: str = "30", frames: int = 30) -> tuple[str, ...]:
    """Arguments for an input of coloured shapes that move."""
    return ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}", "-frames:v", str(frames))


class Clips:
    """Clips by name; each is made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def made(self, name: str, *arguments: str) -> Path:
        """The clip ``name``, which ``ffmpeg`` makes with ``arguments``."""
        path = self._folder / name
        if not path.exists():
            # Whole or not at all: a test that is ended in the middle of it must not end all others.
            part = self._folder / f"part-{name}"
            ffmpeg(*arguments, str(part))
            part.rename(path)
        return path

    def plain(self, suffix: str = ".mp4") -> Path:
        """One second at 30 fps, H.264 with B-frames, no audio."""
        return self.made(f"plain{suffix}", *moving(), *h264())

    def with_sound(self, suffix: str = ".mp4") -> Path:
        """One second at 30 fps with AAC beside it."""
        sound = ("-f", "lavfi", "-i", "sine=frequency=440:duration=1")
        return self.made(f"sound{suffix}", *moving()[:4], *sound, "-t", "1", *h264(), "-c:a", "aac")

    def flash_and_beep(self, suffix: str) -> Path:
        """Two seconds, dark and silent but for a flash and a beep at ``FLASHES_S``."""
        when = "+".join(f"between(t,{s},{s + 0.09})" for s in FLASHES_S)
        picture = f"color=black:size=160x90:rate=30,drawbox=color=white:t=fill:enable='{when}'"
        sound = f"aevalsrc='0.8*sin(2*PI*1000*t)*({when})':sample_rate=48000"
        return self.made(
            f"flash{suffix}",
            *("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound),
            *("-t", "2", *h264(), "-c:a", "aac"),
        )


def h264(*options: str) -> tuple[str, ...]:
    """Arguments for an encode with B-frames and a keyframe twice a second."""
    fast = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p")
    return (*fast, "-bf", "2", "-g", "15", "-crf", "18", *options)


def turned(clips: Clips, folder: Path, degrees: int) -> Path:
    """A clip with pixels twice as wide as high, and a note that says how to hold it."""
    source = clips.made("flat.mp4", *moving(frames=3), "-vf", "setsar=2", *h264())
    target = folder / f"turned{degrees}.mp4"
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        stream.set_display_rotation(degrees)
        for packet in before.demux(video=0):
            if packet.size:
                packet.stream = stream
                after.mux(packet)
    return target


def interlaced(clips: Clips, size: str = "320x180") -> Path:
    """Two fields to a picture, 25 pictures a second, as broadcasts have it."""
    return clips.made(
        f"interlaced{size}.ts",
        *moving(size=size, rate="50", frames=20),
        *("-vf", "tinterlace=mode=interleave_top,setfield=tff"),
        *("-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-b:v", "8M", "-bf", "2"),
    )


def holed(clips: Clips, folder: Path) -> Path:
    """A transport stream that lacks five packets in the middle.

    No keyframe comes after them: it is libav's marks that tell of the hole, not the flags of pictures,
    which its threads now and then hand on too late.
    """
    data = clips.made("one_keyframe.ts", *moving(), *h264("-g", "60")).read_bytes()
    middle = len(data) // 188 // 2 * 188
    target = folder / "holed.ts"
    target.write_bytes(data[:middle] + data[middle + 5 * 188 :])
    return target
