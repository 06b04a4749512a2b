"""Which streams may be added from outside, over the API."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamer.addresses import AddressPolicy, AddressRefused
from streamer.config import StreamSettings, parse_sink, source_kind
from streamer.errors import ConfigError
from streamer.server.secrecy import BY_ADDRESS

FOLDER_NAME = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The rules of the settings file, applied once to what is added and to each opening."""

    policy: AddressPolicy
    allow_files: bool = False
    hls_folder: Path | None = None
    serves_rtsp: bool = False

    def place(self, source: str, outputs: Sequence[str]) -> list[str]:
        """The outputs as they are to be, each ``hls:`` in its folder.

        Comes before anything looks at the disk, whose answers would tell what is on it. Raises
        ``AddressRefused`` for what may not be used, ``ConfigError`` for what is wrong.
        """
        kind = source_kind(source)
        if kind in ("file", "device") and not self.allow_files:
            raise AddressRefused(
                f"a stream added over the API may not read a {kind} of the server; use an address, "
                "whip: or synthetic:, or set allow_files: true in the settings file"
            )
        return [self._place(text) for text in outputs]

    async def pin(self, settings: StreamSettings) -> StreamSettings:
        """The settings to open: what their names mean is checked now, and again whenever a source or an
        output is connected to (``reach``).

        A name may mean something else each time it is asked for. Raises ``AddressRefused`` for
        what may not be reached and ``SourceError`` for a name that does not resolve.
        """
        # A device or a file has no host.
        if source_kind(settings.source) in BY_ADDRESS:
            await self.policy.pins(settings.source)
        for sink in settings.sinks:
            if sink.kind == "push":
                await self.policy.pins(sink.target)
        return await asyncio.to_thread(replace, settings, reach=self.policy)

    def _place(self, text: str) -> str:
        sink = parse_sink(text)
        if sink.kind in ("file", "y4m"):
            raise AddressRefused(
                f"a stream added over the API may not write {sink.label}; use webrtc:, rtsp:, hls: "
                "or an address, and record with streamer run"
            )
        if sink.kind == "rtsp" and not self.serves_rtsp:
            raise ConfigError(
                "this server serves no RTSP, so rtsp: has nowhere to go; add "
                "rtsp: {listen: '127.0.0.1:8554'} to the settings file"
            )
        if sink.kind != "hls":
            return text
        if self.hls_folder is None:
            raise AddressRefused(
                "a stream added over the API may not write HLS; name a folder for it as hls_folder "
                "in the settings file"
            )
        if not FOLDER_NAME.fullmatch(sink.target):
            raise AddressRefused(
                "hls: takes the name of a folder inside hls_folder here, such as hls:door; use "
                "letters, digits, - _ ."
            )
        return f"hls:{self.hls_folder / sink.target}"
