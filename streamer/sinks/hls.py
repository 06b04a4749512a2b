"""The encoded stream as HLS: segments of fragmented MP4 and a playlist in a folder."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from streamer.clock import Clock
from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.metrics import Metrics
from streamer.sinks.base import Sink
from streamer.sinks.late_sound import LateSound
from streamer.sinks.muxer_hls import OURS, clear, conclude, end, shown
from streamer.sinks.muxer_protocol import Output, Target
from streamer.sinks.muxer_session import Patience
from streamer.sinks.muxer_sink import MuxerSink

SEGMENT_S = 2.0
WINDOW = 6
"""Segments in the playlist: 12 s, of which players keep three segments' distance from the end."""

KEPT = 3
"""Segments that stay on disk after they left the playlist, for players that are late."""


class HlsSink:
    """Writes to a folder from a child process; asks for a keyframe wherever a segment may end."""

    def __init__(
        self,
        folder: str,
        *,
        audio: AudioInfo | None,
        clock: Clock,
        metrics: Metrics,
        request_keyframe: Callable[[], None],
        label: str | None = None,
        segment_s: float = SEGMENT_S,
        window: int = WINDOW,
        patience: Patience | None = None,
        waits_for_sound: bool = False,
    ) -> None:
        """Touches nothing before the first keyframe; the folder is made then.

        With ``waits_for_sound`` that ``audio`` may come late, or never: see ``LateSound``. Players go on
        there behind a discontinuity.
        """
        self._folder = Path(folder)
        self._request_keyframe = request_keyframe
        self._segment_s = Fraction(segment_s)
        self._window = window
        self._next_cut_s: Fraction | None = None
        self._runs = 0
        label = label or f"hls:{self._folder.name}"

        def make(audio: AudioInfo | None) -> Sink:
            return MuxerSink(
                label,
                self._prepared,
                audio=audio,
                clock=clock,
                metrics=metrics,
                request_keyframe=request_keyframe,
                patience=patience,
                # It is there to be played afterwards as well.
                needs_end=True,
            )

        self._sink: Sink = make(audio)
        if waits_for_sound and audio is not None:
            self._sink = LateSound(label, make, audio, request_keyframe=request_keyframe)

    async def send(self, packet: Packet) -> None:
        """Take or drop one packet, at once. Raises ``SinkError`` when the folder refuses."""
        if packet.stream == "video":
            self._ask_for_cut(packet)
        await self._sink.send(packet)

    async def close(self) -> None:
        """End the playlist; what is in it stays playable. Raises ``SinkError`` where it lacks its end."""
        try:
            await self._sink.close()
        except SinkError:
            if self._runs:
                with suppress(OSError):
                    await asyncio.to_thread(end, self._folder)
            raise
        try:
            if self._runs:
                await asyncio.to_thread(conclude, self._folder)
        except OSError as error:
            raise SinkError(
                f"the HLS folder {self._folder} lacks its end ({error.strerror}); free some space"
            ) from error

    def _ask_for_cut(self, packet: Packet) -> None:
        """libav cuts at the first keyframe after each multiple of the segment's length."""
        if self._next_cut_s is None:
            if packet.is_keyframe:
                self._next_cut_s = packet.time_s + self._segment_s
            return
        # The request takes effect one picture later.
        if packet.time_s + packet.duration * packet.time_base >= self._next_cut_s:
            while self._next_cut_s <= packet.time_s + packet.duration * packet.time_base:
                self._next_cut_s += self._segment_s
            self._request_keyframe()

    def _prepared(self) -> Target:
        """A folder without segments of earlier streams, and how libav is to fill it.

        Where this one goes on after a break, what players are shown stays until there is more.
        See Note [Playlists on a full disk].
        """
        folder = Path(os.path.abspath(self._folder))
        # Seconds since 1970: a later run counts on from above an earlier one, also where that one
        # ended within this very second.
        number = time.time_ns() // 1_000_000_000
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number = max([number, *(_number(entry.name) + 1 for entry in folder.iterdir())])
            kept = shown(folder) if self._runs else set()
            clear(folder, keeps=kept.__contains__)
        except OSError as error:
            raise SinkError(
                f"the HLS folder {self._folder} cannot be used ({error.strerror}); "
                "choose one that may be written to"
            ) from error
        # Each run names its files anew: whoever still holds an old segment or header cannot mix it.
        run = secrets.token_hex(4)
        flags = ["delete_segments", "independent_segments", "program_date_time", "temp_file"]
        # Players ask no further once a list has its end, and another run may follow.
        flags.append("omit_endlist")
        if self._runs:
            flags.append("discont_start")
        self._runs += 1
        output = Output(
            url=str(folder / f"list-{run}.m3u8"),
            format="hls",
            options={
                "hls_time": str(float(self._segment_s)),
                "hls_list_size": str(self._window),
                "hls_delete_threshold": str(KEPT),
                "hls_segment_type": "fmp4",
                # Each fragment says its own time: the header's edit list is written before sound that
                # comes late is known of, and browsers pass over its gaps.
                "hls_segment_options": "movflags=+frag_discont",
                "hls_fmp4_init_filename": f"init-{run}.mp4",
                "hls_segment_filename": f"seg-{run}-%d.m4s",
                "start_number": str(number),
                "hls_flags": "+".join(flags),
                "max_interleave_delta": "250000",
                "protocol_whitelist": "file",
            },
        )
        return Target(output=output, place=f"hls:{self._folder.name}")


def _number(name: str) -> int:
    """A segment's number; -1 for the other files."""
    match = re.search(r"-(\d+)\.m4s", name) if OURS.fullmatch(name) else None
    return int(match[1]) if match else -1
