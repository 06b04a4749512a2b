"""Settings, checked when they are made and never changed after."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from streamer.addresses import SECRET_KEYS, AddressPolicy, has_two_readings
from streamer.errors import ConfigError
from streamer.ice import IceServer
from streamer.rate import Rate, parse_rate

SourceKind = Literal["file", "device", "synthetic", "rtsp", "network", "whip"]
MadeTask = Literal["interpolation", "prediction"]
Between = Literal["interpolate", "predict", "none"]
Denoise = Literal["auto", "on", "off"]
SinkKind = Literal["webrtc", "rtsp", "push", "hls", "file", "y4m", "null"]

LIVE_KINDS: tuple[SourceKind, ...] = ("rtsp", "network", "whip", "device")
"""Sources that may be lost and come back."""

STANDARD = "-"
"""Standard input where a source is named, standard output for pictures; never a file of that name."""

HTTP_PORT, RTSP_PORT = 8080, 8554
"""Of the page and of what ``rtsp:`` serves, unless others are asked for."""

SCALES = (1, 2, 3, 4)
BETWEEN: tuple[Between, ...] = ("interpolate", "predict", "none")
FILE_SUFFIXES: Mapping[str, str] = MappingProxyType(
    {".mp4": "mp4", ".mkv": "matroska", ".ts": "mpegts"}
)
"""What a file sink's ending says about its container, by libav's name."""

SOURCE_SCHEMES: Mapping[str, SourceKind] = MappingProxyType(
    {
        "rtsp": "rtsp",
        "rtsps": "rtsp",
        "rtmp": "network",
        "rtmps": "network",
        "http": "network",
        "https": "network",
        "udp": "network",
        "srt": "network",
    }
)
"""What reads an address, by its scheme; no other scheme ever reaches a library."""

PUSH_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "srt")

SOURCE_HELP = (
    "rtsp://, rtmp://, http(s)://, udp:// or srt:// with an address, whip: (under serve), a file, "
    "- (standard input), an image sequence (frames/%04d.png), device:/dev/video0 or synthetic:"
)
SINK_HELP = (
    "webrtc:, rtsp: (served here), an address of rtsp:// rtmp:// udp:// or srt://, hls:DIR, "
    "out.mp4, out.mkv, out.ts, y4m:FILE, y4m:- or null:"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSpec:
    """One output as the user wrote it, taken apart."""

    kind: SinkKind
    target: str = ""

    @property
    def is_live(self) -> bool:
        """Whether somebody watches while it happens."""
        return self.kind in ("webrtc", "rtsp", "push", "hls")

    @property
    def label(self) -> str:
        """How logs, metrics and reports call it; never a secret."""
        if self.kind == "push":
            return place_of(self.target)
        return f"{self.kind}:{Path(self.target).name}" if self.target else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeSettings:
    """How the one encode of a rendition is done."""

    bitrate_kbps: int | None = None
    """Average and ceiling of a live stream; ``None`` takes it from the size and rate."""
    crf: int = 18
    """Quality where files are coded into files, libx264's scale: 0 lossless, 51 worst."""
    preset: str | None = None
    """A libx264 preset; ``None`` takes ``ultrafast`` live and ``veryfast`` for files."""

    def __post_init__(self) -> None:
        if self.bitrate_kbps is not None and not 100 <= self.bitrate_kbps <= 200_000:
            raise ConfigError(
                f"a bitrate of {self.bitrate_kbps} kbit/s is out of range; use 100 to 200000"
            )
        if not 0 <= self.crf <= 51:
            raise ConfigError(f"crf {self.crf} is out of range; use 0 (lossless) to 51 (worst)")
        presets = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow")
        if self.preset is not None and self.preset not in presets:
            raise ConfigError(
                f"there is no encoder preset {self.preset!r}; use one of: {', '.join(presets)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What may change while a stream runs; ``None`` leaves it as it is."""

    budget_ms: float | None = None
    bitrate_kbps: int | None = None
    tier: str | None = None
    """The best step of the ladder that may be taken, by name."""

    def __post_init__(self) -> None:
        if self.budget_ms is not None:
            check_budget(self.budget_ms)
        EncodeSettings(bitrate_kbps=self.bitrate_kbps)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """One stream: what comes in, what is done, where it goes."""

    source: str
    sinks: tuple[SinkSpec, ...]
    name: str = "live"
    scale: int = 2
    budget_ms: float = 80.0
    """From arrival to the sinks; what cannot be enhanced within it gets a cheaper tier."""
    backend: str = "auto"
    variant: str | None = None
    """A network by name; ``None`` takes the default one."""
    rate: Rate | None = None
    """Frames per second that leave; ``None`` leaves them as they come."""
    between: Between = "interpolate"
    """Where a higher rate gets its frames from: between two real ones, which costs waiting for the
    second, or ahead of the last one. With ``none`` a rate can only be lowered."""
    conceals: bool = True
    """Whether frames stand in for those that a live source lost."""
    denoise: Denoise = "auto"
    """Whether pictures are cleaned of noise before they are enlarged; ``auto`` while they are noisy."""
    steady: bool | None = None
    """Whether enlarged pictures are made with the help of the one before; ``None`` does it in files,
    which have the time."""
    sharpen: float = 0.0
    """How far finished pictures are sharpened, up to 1; 0.5 gives undamaged ones the originals' gradient."""
    duration_s: float | None = None
    reach: AddressPolicy | None = None
    """Which hosts the names in its addresses, and redirects, may lead to, for what a stranger named."""
    ice_servers: tuple[IceServer, ...] = ()
    """By which viewers over WebRTC find the way through address translation."""
    encode: EncodeSettings = EncodeSettings()

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ConfigError(f"--scale {self.scale} is not possible; use 1, 2, 3 or 4")
        check_budget(self.budget_ms)
        if self.denoise not in get_args(Denoise):
            raise ConfigError(
                f"--denoise {self.denoise!r} is not possible; use {', '.join(get_args(Denoise))}"
            )
        if not 0 <= self.sharpen <= 1:
            raise ConfigError(
                f"--sharpen {self.sharpen} is out of range; use 0 (not at all) to 1 (0.5 is usual)"
            )
        if self.steady and self.scale == 1:
            raise ConfigError(
                "steadying is for enlarged pictures, --scale is 1; use 2, 3 or 4, or leave out --steady"
            )
        if self.duration_s is not None and not 0 < self.duration_s < math.inf:
            raise ConfigError(
                f"--duration {self.duration_s:g} is out of range; use more than 0 seconds"
            )
        if not self.sinks:
            raise ConfigError(f"there is no output; add --to with {SINK_HELP}")
        if not re.fullmatch(r"(?!\.\.?$)[A-Za-z0-9_.-]{1,64}", self.name):
            # In an address . and .. mean another place, so nobody could ask for such a stream.
            raise ConfigError(
                f"{self.name!r} is no name for a stream; use 1 to 64 letters, digits, - _ ."
            )
        self._check_targets()

    @property
    def steadies(self) -> bool:
        """Whether enlarged pictures are made with the help of the one before."""
        return self.is_offline and self.scale > 1 if self.steady is None else self.steady

    @property
    def waits_for_next(self) -> bool:
        """Whether a frame leaves only when the one after it is there."""
        return self.rate is not None and self.between == "interpolate"

    @property
    def waits_intervals(self) -> Fraction:
        """How long a real frame waits at most for those that are made before it, in intervals of
        the source."""
        if self.rate is None or not self.waits_for_next:
            return Fraction(0)
        return Fraction(1) if self.rate.times is None else 1 - Fraction(1, self.rate.times)

    @property
    def fills_losses(self) -> bool:
        """Whether frames are made for those that do not come."""
        return self.conceals and source_kind(self.source) in LIVE_KINDS

    @property
    def made_task(self) -> MadeTask | None:
        """What a network must be able to that makes frames around real ones; ``None`` where none are
        made. For lost frames none is used: the picture stands for as long as it takes."""
        if self.waits_for_next:
            return "interpolation"
        return "prediction" if self.rate is not None and self.between == "predict" else None

    @property
    def is_offline(self) -> bool:
        """A file in and only files out: nothing is dropped, the links wait."""
        return not _is_live(self.source) and not any(s.is_live for s in self.sinks)

    def _check_targets(self) -> None:
        addresses = [s.target for s in self.sinks if s.kind == "push"]
        if len(addresses) != len(set(addresses)):
            raise ConfigError("two outputs have the same address; give each --to its own")
        targets = [s.target for s in self.sinks if s.target and s.kind != "push"]
        if any("\0" in name for name in (self.source, *targets)):
            raise ConfigError("a name holds a zero byte, which no file can have; leave it out")
        if len(targets) != len({identity(target) for target in targets}):
            raise ConfigError("two outputs have the same name; give each --to its own file")
        for sink in self.sinks:
            target = sink.target
            if sink.kind in ("file", "y4m") and not os.path.isdir(os.path.dirname(target) or "."):
                raise ConfigError(
                    f"the folder of {target} does not exist; make it, or write somewhere else"
                )
        if source_kind(self.source) != "file" or self.source == STANDARD:
            return
        for target in targets:
            if identity(target) == identity(self.source):
                raise ConfigError(
                    f"{target} is the input as well as the output; write to another file"
                )


def identity(path: str) -> tuple[int, int] | str:
    """What is the same for two names of one file, whichever links lead to it; ``STANDARD`` is none of
    them. Raises ``ConfigError`` where the name means nothing any more."""
    if path == STANDARD:
        return path
    try:
        found = os.stat(path)
    except OSError:
        pass
    else:
        return found.st_dev, found.st_ino
    try:
        return os.path.realpath(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} is to be in the folder where this runs, and that is gone; run it in another one"
        ) from error


def parse_made_frames(fps: str | None, between: str | None) -> tuple[Rate | None, Between]:
    """``--fps`` and ``--between`` as settings: whoever asks for frames in between alone wants twice
    as many. Raises ``ConfigError`` for what is neither."""
    if fps is None and between in ("interpolate", "predict"):
        fps = "x2"
    how = next((known for known in BETWEEN if known == (between or "interpolate")), None)
    if how is None:
        raise ConfigError(f"--between {between!r} is not possible; use {', '.join(BETWEEN)}")
    return None if fps is None else parse_rate(fps), how


def of_tier(tier: str | None, *, backend: str | None) -> dict[str, Any]:
    """Fields of ``StreamSettings`` for a network by name, for ``plain``, which is none at all, or for
    ``None``: what there is. Raises ``ConfigError`` where a ``backend`` was asked for in vain."""
    if tier != "plain":
        return {"variant": tier}
    if backend not in (None, "auto", "reference"):
        raise ConfigError(
            f"the tier plain is no network, which the backend {backend} could run; leave one of them out"
        )
    return {"backend": "reference"}


def check_budget(budget_ms: float) -> None:
    """Raise ``ConfigError`` unless it is a time that a frame may take."""
    if not 1 <= budget_ms <= 60_000:
        raise ConfigError(
            f"--budget-ms {budget_ms:g} is out of range; use 1 to 60000 (80 is usual)"
        )


def check_crf(crf: int | None, settings: StreamSettings) -> None:
    """Raise ``ConfigError`` where a quality was asked for that nothing is coded by; ``None`` asks for
    none."""
    if crf is not None and settings.encode.bitrate_kbps is not None:
        raise ConfigError(
            "a file is coded by a crf or by a bitrate, not both; leave one of them out"
        )
    if crf is not None and not settings.is_offline:
        raise ConfigError("crf is for runs from file to file; use --bitrate-kbps here")


def _is_live(source: str) -> bool:
    """Whether frames come in their own time; a synthetic camera can be told to wait instead."""
    kind = source_kind(source)
    can_wait = kind == "synthetic" and re.search(r"[?&]pace=fast(&|$)", source)
    return kind != "file" and not can_wait


def source_kind(source: str) -> SourceKind:
    """What SOURCE is; raises ``ConfigError`` for a scheme that is not known."""
    if source.startswith("synthetic:"):
        return "synthetic"
    if source.startswith("device:"):
        return "device"
    if source == "whip:":
        return "whip"
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", source)
    if scheme:
        kind = SOURCE_SCHEMES.get(scheme[1].lower())
        if kind is None:
            raise ConfigError(f"{scheme[1]}:// cannot be read; use {SOURCE_HELP}")
        return kind
    if not source:
        raise ConfigError(f"the source is empty; use {SOURCE_HELP}")
    return "file"


def parse_sink(text: str) -> SinkSpec:
    """SINK as written on the command line; raises ``ConfigError`` for what is not one."""
    if text == "webrtc:":
        return SinkSpec(kind="webrtc")
    if text == "rtsp:":
        return SinkSpec(kind="rtsp")
    if text == "null:":
        return SinkSpec(kind="null")
    if re.match(rf"({'|'.join(PUSH_SCHEMES)})://[^/]", text):
        return SinkSpec(kind="push", target=text)
    if text.startswith("hls:") and len(text) > 4:
        return SinkSpec(kind="hls", target=text[4:])
    if text.startswith("y4m:") and len(text) > 4:
        return SinkSpec(kind="y4m", target=text[4:])
    if text.lower().endswith(".y4m") and "://" not in text:
        return SinkSpec(kind="y4m", target=text)
    if Path(text).suffix.lower() in FILE_SUFFIXES and "://" not in text:
        return SinkSpec(kind="file", target=text)
    raise ConfigError(f"{place_of(text)!r} is no output; use {SINK_HELP}")


def place_of(url: str) -> str:
    """Scheme, host and port: the path may hold a stream key, the rest a password.

    What is no URL stays as it is.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return redacted(url)
    if has_two_readings(url):
        return f"{scheme.lower()}://***"
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return f"{scheme.lower()}://{authority.rpartition('@')[2]}"


def redacted(text: str) -> str:
    """``text`` without the secrets of any URL in it: user and password, the values of telling
    keys, which some cameras have in their path, and what follows the application in RTMP, which is
    the stream's key.

    A password may hold ``@``, ``/`` and ``&``, so it rather hides too much than too little.
    """
    # Where no @ follows, all the same is taken: none follows the next :// either. Looked through again
    # from each of them, a text that a stranger makes of nothing else would take seconds.
    text = re.sub(r"(://)(?:\S*(@)|\S*)", _without_user, text)
    # A slash or the colon too few is a slip, and makes the address a file that does not exist.
    schemes = "(?:rtsp|rtmp|http|srt|udp|ftp|turn)s?"
    text = re.sub(rf"(?i)(?<![\w/])({schemes}(?::/?|//))(?!/)(?:\S*(@)|\S*)", _without_user, text)
    text = re.sub(rf"(?i)([?&;/_]({SECRET_KEYS})=)[^\s'\"]*", r"\1***", text)
    # Of several schemes before one slash only the last is tried, for the same reason.
    host = r"(?:(?!rtmps?:(?!/))[^/\s])+"
    way = rf"rtmps?(?::/{{0,2}}|//){host}/[^/\s]+/"
    return re.sub(rf"(?i)({way})[^\s'\"?;,)]+", r"\1***", text)


def _without_user(found: re.Match[str]) -> str:
    """A scheme and what follows it up to the last @, that hidden; as it is where there is none."""
    return f"{found[1]}***@" if found[2] else found[0]
