"""The program of the child process that holds one network output (or HLS folder) of libav.

It gets ``open`` with a keyframe, then packets; it says ``ready``, ``opened``, ``took`` for each
packet, ``refused`` for sound that it cannot decode, and ``failed`` with the reason before it ends. It
ends with its standard input.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.error

from streamer.child import Message, read_message, write_message
from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.sinks.muxer import Muxer, PictureChanged, TimesSpent
from streamer.sinks.muxer_hls import Published
from streamer.sinks.muxer_protocol import (
    PICTURE_CHANGED,
    TIMES_SPENT,
    Output,
    as_packet,
    audio_of,
    output_of,
)
from streamer.sinks.muxer_srt import SrtFile


class _Connection:
    """One output, whatever carries it."""

    def __init__(self, say: Callable[[dict[str, Any]], None]) -> None:
        self._say = say
        self._srt: SrtFile | None = None
        self._muxer: Muxer | None = None
        self._published: Published | None = None

    def open(self, opening: Message) -> None:
        """Connect and write the header; the payload is a keyframe with its parameter sets."""
        head = opening.head
        output, audio = output_of(opening), audio_of(opening)
        if head["srt"] is not None:
            self._srt = SrtFile(head["srt"])
        if output.format == "hls":
            # Names without a folder: libav would take a %d in that one for the segment's number, and
            # keeps a %% as it is.
            listed = Path(output.url)
            os.chdir(listed.parent)
            output = replace(output, url=listed.name)
            self._published = Published(Path(listed.name))
        self._muxer = self._made(output, audio)
        self._muxer.open(opening.payload, time_base=Fraction(*head["time_base"]))
        # What a receiver of SRT got, it keeps for a while before it passes it on.
        self._say({"opened": True, "keeps_s": self._srt.latency_s if self._srt else 0.0})

    def write(self, packet: Packet) -> None:
        assert self._muxer is not None
        self._muxer.write(packet)
        if self._published is not None:
            self._published.publish()

    def end(self) -> None:
        """Show all that was written; call it after ``close``. Raises ``OSError`` where a disk is full."""
        if self._published is not None:
            self._published.publish()
            self._published.close()

    def close(self) -> None:
        with suppress(av.error.FFmpegError, OSError, ValueError):
            if self._muxer is not None:
                self._muxer.close()
        if self._srt is not None:
            self._srt.close()

    def _made(self, output: Output, audio: AudioInfo | None) -> Muxer:
        try:
            muxer = Muxer(output, audio, file=self._srt, refused=lambda: self._say({"refused": 1}))
        except SinkError as error:
            self._say({"remark": f"it gets no sound, since {error}"})
            return Muxer(output, None, file=self._srt)
        if muxer.transcoder is not None and audio is not None:
            self._say(
                {"remark": f"the sound is coded anew to AAC, since it takes no {audio.codec}"}
            )
        return muxer


def main() -> int:
    """Serve one connection; the exit code says nothing, the messages do."""
    # A peer that is gone is an error of the write, not a signal.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    commands = sys.stdin.buffer
    # Whatever a library prints must not get between the messages.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(head: dict[str, Any]) -> None:
        with suppress(OSError):  # the parent is gone; its end of the input says so next
            write_message(answers, Message(head))

    say({"ready": True})
    opening = read_message(commands)
    if opening is None:
        return 0
    failure = _serve(commands, opening, say)
    if failure:
        say({"failed": failure})
    return 0


def _serve(commands: BinaryIO, opening: Message, say: Callable[[dict[str, Any]], None]) -> str:
    """Move packets until the input ends; why that was too early, or nothing."""
    connection = _Connection(say)
    try:
        try:
            connection.open(opening)
            while (message := read_message(commands)) is not None:
                connection.write(as_packet(message))
                say({"took": 1})
        finally:
            connection.close()
        connection.end()
    except PictureChanged:
        return PICTURE_CHANGED
    except TimesSpent:
        return TIMES_SPENT
    except (SinkError, av.error.FFmpegError, OSError, ValueError) as error:
        # Not the whole text: libav's errors carry the address.
        return str(getattr(error, "strerror", None) or error)
    return ""


if __name__ == "__main__":
    sys.exit(main())
