"""The synthetic camera: a drawn scene with a counter burnt in, paced like a live one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from urllib.parse import parse_qsl

from streamer.clock import Clock
from streamer.errors import ConfigError
from streamer.frame import Frame, Plane
from streamer.media import AudioInfo, Color, VideoInfo
from streamer.sources import counter
from streamer.sources.scene import Scene
from streamer.worker import Worker

_EXAMPLE = "synthetic:1280x720@60?seed=3"
_URL = re.compile(r"synthetic:(?:(\d+)x(\d+))?(?:@([^?]+))?(?:\?(.*))?", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+|/0*[1-9]\d*)?", re.ASCII)
_MIN_SIZE, _MAX_SIZE = (160, 96), (3840, 2160)
_MAX_ASPECT = 4
"""Wider, and the counter would cover the picture; its size follows the width."""
_NS_PER_S = 1_000_000_000


class Pace(Enum):
    """When a picture leaves."""

    REALTIME = "realtime"
    """At its time; skipped where drawing or the reader is late."""
    FAST = "fast"
    """As soon as it is drawn and asked for; never skipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSettings:
    """What to draw and when; raises ``ConfigError`` on values outside the range."""

    width: int = 640
    height: int = 360
    fps: Fraction = Fraction(30)
    seed: int = 1
    cut_s: Fraction = Fraction(5)
    """Seconds from one scene cut to the next."""
    pace: Pace = Pace.REALTIME
    frames: int = 0
    """The stream ends after this many, skipped ones included; 0 for never."""

    def __post_init__(self) -> None:
        width, height = self.width, self.height
        in_range = _MIN_SIZE[0] <= width <= _MAX_SIZE[0] and _MIN_SIZE[1] <= height <= _MAX_SIZE[1]
        if not in_range or width % 2 or height % 2:
            raise _refusal(f"size {width}x{height}", "even sizes from 160x96 to 3840x2160")
        if width > _MAX_ASPECT * height:
            raise _refusal(f"size {width}x{height}", f"at most {_MAX_ASPECT} times wider than high")
        if not 1 <= self.fps <= 240:
            raise _refusal(f"{self.fps} frames per second", "1 to 240, as 30, 29.97 or 30000/1001")
        if not Fraction(1, 10) <= self.cut_s <= 86_400:
            raise _refusal(f"cut_s={self.cut_s}", "0.1 to 86400 seconds")
        if self.seed < 0 or self.frames < 0:
            raise _refusal(f"seed={self.seed}, frames={self.frames}", "0 or more for both")


def parse(url: str) -> SyntheticSettings:
    """The settings in ``synthetic:[WIDTHxHEIGHT][@FPS][?seed=N&cut_s=S&pace=P&frames=N]``.

    Raises ``ConfigError`` for anything else.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise _refusal(
            repr(url),
            "synthetic:[WIDTHxHEIGHT][@FPS][?seed=N&cut_s=S&pace=realtime|fast&frames=N]",
        )
    width, height, fps, query = match.groups()
    given = _options(query or "")
    plain = SyntheticSettings()
    pace = given.get("pace", plain.pace.value)
    if pace not in [known.value for known in Pace]:
        raise _refusal(f"pace={pace}", "realtime or fast")
    return SyntheticSettings(
        width=int(width or plain.width),
        height=int(height or plain.height),
        fps=plain.fps if fps is None else _number(fps, "frames per second"),
        seed=_count(given, "seed", plain.seed),
        cut_s=_number(given["cut_s"], "cut_s") if "cut_s" in given else plain.cut_s,
        pace=Pace(pace),
        frames=_count(given, "frames", plain.frames),
    )


class SyntheticSource:
    """A ``FrameSource`` that draws; it needs no network, file or device."""

    def __init__(self, settings: SyntheticSettings, clock: Clock) -> None:
        self.settings = settings
        self.skipped = 0
        """Pictures whose time passed before they could be handed over."""
        self._clock = clock
        self._scene: Scene | None = None
        self._drawer = Worker("synthetic")
        self._draw_ns = 0
        self._closed = asyncio.Event()
        self._color = Color.untagged(settings.height)
        # Asked for with every picture.
        self.video = VideoInfo(
            codec="synthetic",
            width=settings.width,
            height=settings.height,
            fps=settings.fps,
            time_base=1 / settings.fps,
            color=self._color,
            frames=settings.frames,
            duration_s=float(settings.frames / settings.fps) if settings.frames else None,
            is_live=settings.pace is Pace.REALTIME,
        )

    @classmethod
    async def open(cls, url: str, *, clock: Clock) -> SyntheticSource:
        """A camera whose scene is built already, which takes a second. Raises ``ConfigError``."""
        source = cls(parse(url), clock)
        await source._drawer.call(source._draw, 0)
        return source

    @property
    def audio(self) -> AudioInfo | None:
        return None

    async def request_keyframe(self) -> None:
        """Every picture stands alone already."""

    async def close(self) -> None:
        """Ends ``frames()``; waits for the picture being drawn. May be called again."""
        self._closed.set()
        await self._drawer.close()

    async def frames(self) -> AsyncIterator[Frame]:
        """Pictures in order of pts, which is the frame number. Read it once.

        Each is drawn shortly before its time, when the work on the one before is mostly done: a
        real camera takes no processor time either. The counter is burnt in at the instant of
        handing over, so that it holds no waiting time.
        """
        number, start_ns = 0, 0
        last = self.settings.frames or None
        while (last is None or number < last) and not self._closed.is_set():
            planes = await self._drawn(number)
            # The first picture starts the clock: building the scene is not lateness.
            start_ns = start_ns or self._clock.now_ns()
            await self._wait_until(self._due_ns(start_ns, number))
            if self._closed.is_set():
                return
            # One drawn late is shown all the same: a slow machine would else show nothing at all.
            yield self._finish(planes, number)
            await self._wait_until(self._due_ns(start_ns, number + 1) - self._lead_ns())
            following = max(number + 1, self._reached(start_ns, number))
            self.skipped += following - number - 1
            number = following

    async def _drawn(self, number: int) -> tuple[Plane, Plane, Plane]:
        began_ns = self._clock.now_ns()
        planes = await self._drawer.call(self._draw, number)
        self._draw_ns = max(self._clock.now_ns() - began_ns, self._draw_ns * 9 // 10)
        return planes

    def _lead_ns(self) -> int:
        """How long before its time a picture is begun: half an interval, or twice what one took."""
        half_ns = _NS_PER_S * self.settings.fps.denominator // (2 * self.settings.fps.numerator)
        return max(half_ns, 2 * self._draw_ns)

    def _draw(self, number: int) -> tuple[Plane, Plane, Plane]:
        """Runs on the drawing thread, which also builds the scene: that takes a second."""
        settings = self.settings
        if self._scene is None:
            self._scene = Scene(
                seed=settings.seed,
                width=settings.width,
                height=settings.height,
                cut_s=settings.cut_s,
            )
        return self._scene.draw(number / settings.fps)

    def _finish(self, planes: tuple[Plane, Plane, Plane], number: int) -> Frame:
        milliseconds = self._clock.now_ns() // 1_000_000
        counter.burn(planes, milliseconds=milliseconds, frame_number=number)
        return Frame(
            planes=planes,
            pts=number,
            time_base=1 / self.settings.fps,
            arrived_ns=self._clock.now_ns(),
            color=self._color,
            duration=1,
        )

    def _due_ns(self, start_ns: int, number: int) -> int:
        """The first nanosecond at which this picture may leave; never summed up, so no drift."""
        fps = self.settings.fps
        return start_ns - (-number * _NS_PER_S * fps.denominator // fps.numerator)

    def _reached(self, start_ns: int, number: int) -> int:
        """The newest picture whose time has come; ``number`` where time does not matter."""
        if self.settings.pace is Pace.FAST:
            return number
        fps = self.settings.fps
        passed_ns = self._clock.now_ns() - start_ns
        newest = passed_ns * fps.numerator // (_NS_PER_S * fps.denominator)
        # What lies after the end was never due, so it is not skipped either.
        return min(newest, self.settings.frames or newest)

    async def _wait_until(self, due_ns: int) -> None:
        """Until then by the clock, or until closed."""
        if self.settings.pace is Pace.FAST:
            return
        while (left_ns := due_ns - self._clock.now_ns()) > 0 and not self._closed.is_set():
            try:
                async with asyncio.timeout(left_ns / _NS_PER_S):
                    await self._closed.wait()
            except TimeoutError:
                continue


def _options(query: str) -> dict[str, str]:
    known = ("seed", "cut_s", "pace", "frames")
    try:
        pairs = parse_qsl(query, strict_parsing=True, keep_blank_values=True) if query else []
    except ValueError:
        raise _refusal(f"'?{query}'", "key=value pairs joined by &") from None
    for position, (key, _) in enumerate(pairs):
        if key not in known:
            raise _refusal(f"the option {key!r}", ", ".join(known))
        if key in [earlier for earlier, _ in pairs[:position]]:
            raise _refusal(f"{key!r} twice", "each option once")
    return dict(pairs)


def _number(text: str, name: str) -> Fraction:
    if _NUMBER.fullmatch(text) is None:
        raise _refusal(f"{text!r} for {name}", "a number such as 30, 29.97 or 30000/1001")
    return Fraction(text)


def _count(given: dict[str, str], key: str, default: int) -> int:
    text = given.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise _refusal(f"{key}={text}", "a whole number, 0 or more")
    return int(text)


def _refusal(seen: str, allowed: str) -> ConfigError:
    return ConfigError(f"The synthetic source got {seen}; allowed: {allowed}; e.g. {_EXAMPLE}")
