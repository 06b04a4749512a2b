"""Frames that no source sent, of the last real ones: between them, and ahead of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from streamer.enhance.frame_maker import FrameMaker, can_make
from streamer.enhance.scene_change import Change, SceneWatch
from streamer.frame import Frame, Origin, Planes
from streamer.gpu.pictures import is_same
from streamer.ops import host
from streamer.ops.motion_ahead import damped, gain_db

NEXT = 0.75, 1.25
"""Intervals after the last frame: what comes there can be compared with what was to be expected."""

WORST_DB = -6.0
"""What a duplicate says of prediction at most: repeating is all but without error there, and one of
them must not switch off for long what is right between all others."""

Canvas = Callable[..., tuple[Planes, Planes | None]]


@dataclass(frozen=True, slots=True)
class Real:
    """A frame that was sent, before and after its enhancing."""

    decoded: Frame
    enhanced: Frame


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was told of a frame before it was enhanced."""

    decoded: Frame
    change: Change
    is_looked_at: bool
    """Whether its motion since the last one was found."""


class MadeFrames:
    """Holds the last two real frames; belongs to one thread."""

    def __init__(self, maker: FrameMaker, watch: SceneWatch, canvas: Canvas) -> None:
        """``canvas(with_comparison=...)`` lends storage for an enhanced picture."""
        self.maker = maker
        self.change = Change.FIRST
        """Of the last real frame against the one before it."""
        self._watch = watch
        self._canvas = canvas
        self._earlier: Real | None = None
        self._last: Real | None = None
        self._looked: tuple[Real, Real] | None = None
        self._goes_on: Frame | None = None
        """The latest frame that shows what the maker looked at last: that one, or a duplicate."""
        self._seen: _Seen | None = None

    @property
    def last(self) -> Real | None:
        return self._last

    def see(self, decoded: Frame, share: float | None = None) -> None:
        """The next real frame, before it is enhanced: its scene and, where a frame at ``share`` of
        the way is wanted, its motion. Another thread may call this while that frame is enhanced."""
        last = self._last
        if last is not None and is_same(last.decoded.planes, decoded.planes):
            change = self._watch.see_again()
        else:
            change = self._watch.see(decoded.planes[0])
        looks = change is Change.MOVED and last is not None and _follows(last, decoded)
        if share is not None and last is not None and looks:
            self._find(last.decoded, decoded)
            self.maker.guide(share)
        self._seen = _Seen(decoded, change, share is not None and looks)

    def enter(self, decoded: Frame, enhanced: Frame) -> Change:
        """The next real frame, in both its forms."""
        if self._seen is None or self._seen.decoded is not decoded:
            self.see(decoded)
        assert self._seen is not None
        seen, self._seen = self._seen, None
        self.change = seen.change
        self._earlier, self._last = self._last, Real(decoded, enhanced)
        earlier = self._earlier
        if seen.is_looked_at and earlier is not None:
            self._looked = (earlier, self._last)
        if seen.change is Change.STILL and earlier is not None and earlier.decoded is self._goes_on:
            # Else letters would be new with each movement of what comes with every picture twice.
            self._goes_on = decoded
        return self.change

    def between(self, time_s: Fraction, share: float, *, pts: int) -> Frame:
        """The frame at ``share`` of the way from the last but one real frame to the last one.

        Across a cut it is what the old shot would have gone on to, and where nothing moves it is
        the first of the two again.
        """
        earlier, last = self._earlier, self._last
        assert earlier is not None
        assert last is not None
        if self.change is Change.MOVED and _match(earlier, last):
            self._look(earlier, last)
            return self._make(
                (earlier, last), share, pts=pts, like=last, origin=Origin.INTERPOLATED
            )
        if self.change is Change.CUT and self._looked is not None and self._looked[1] is earlier:
            pair = self._looked
            time = 1.0 + damped(_steps(pair, time_s))
            return self._make(pair, time, pts=pts, like=last, origin=Origin.PREDICTED)
        again = earlier.enhanced
        # It came about as the second of the two arrived: were it as old as what it shows, after a gap it
        # would be over its time, and all frames would be shown too soon for that.
        return replace(
            last.enhanced,
            planes=again.planes,
            comparison=again.comparison,
            color=again.color,
            sample_aspect=again.sample_aspect,
            pts=pts,
            origin=Origin.REPEATED,
        )

    def ahead(self, time_s: Fraction, *, pts: int, is_plain: bool = False) -> Frame | None:
        """The frame at a time after the last real one; ``None`` where nothing moves or nothing is
        known of how. ``is_plain`` makes it without a network."""
        pair = self._pair()
        if pair is None:
            return None
        self._look(*pair)
        time = 1.0 + damped(_steps(pair, time_s))
        return self._make(
            pair, time, pts=pts, like=pair[1], origin=Origin.PREDICTED, is_plain=is_plain
        )

    @property
    def is_looked_at(self) -> bool:
        """Whether the motion up to the last real frame is known."""
        return self._looked is not None and self._looked[1] is self._last

    def look(self) -> float | None:
        """Find the motion of the last pair. Where the motion before it was known: by how many dB the
        last real frame would have been predicted better than by the one before it, shown again."""
        pair, step = self._pair(), self._step_to_last()
        if step is None:
            if pair is not None:
                self._look(*pair)
            return None
        if pair is None:
            return self._loss_db(step) if self.change is Change.STILL else None
        foreseen, before = self.maker.foreseen(step), self.maker.seen
        self._look(*pair)
        return gain_db(foreseen, last=before, actual=self.maker.seen)

    def _step_to_last(self) -> float | None:
        """How many intervals the last real frame lies after the pair that was looked at, where it is
        what came next."""
        looked, last = self._looked, self._last
        if looked is None or last is None or looked[1] is not self._earlier:
            return None
        step = _steps(looked, last.decoded.time_s)
        return step if NEXT[0] <= step <= NEXT[1] else None

    def _loss_db(self, step: float) -> float:
        """The gain where the last real frame is a duplicate of the one that was predicted from."""
        assert self._earlier is not None
        assert self._last is not None
        before, again = self._earlier.decoded.planes, self._last.decoded.planes
        seen = self.maker.seen
        # What is known to be the same nobody has to fetch.
        actual = seen if is_same(before, again) else self.maker.at_its_size(again[0])
        gain = gain_db(self.maker.foreseen(step), last=seen, actual=actual)
        return max(WORST_DB, gain)

    def _pair(self) -> tuple[Real, Real] | None:
        earlier, last = self._earlier, self._last
        if self.change is not Change.MOVED or earlier is None or last is None:
            return None
        return (earlier, last) if _match(earlier, last) else None

    def _look(self, earlier: Real, last: Real) -> None:
        looked = self._looked
        if looked is None or looked[0] is not earlier or looked[1] is not last:
            self._find(earlier.decoded, last.decoded)
            self._looked = (earlier, last)

    def _find(self, first: Frame, second: Frame) -> None:
        """The motion from one real frame to the next."""
        goes_on = first is self._goes_on
        self.maker.look(first.planes[0], second.planes[0], goes_on=goes_on)
        self._goes_on = second

    def _make(
        self,
        pair: tuple[Real, Real],
        time: float,
        *,
        pts: int,
        like: Real,
        origin: Origin,
        is_plain: bool = False,
    ) -> Frame:
        first, second = (real.enhanced for real in pair)
        below = first.comparison
        planes, comparison = self._canvas(with_comparison=below is not None)
        guide = self.maker.guide(time, is_plain=is_plain)
        self.maker.make(first.planes, second.planes, guide, planes)
        if comparison is not None and below is not None:
            # Below stands what the source showed at that time.
            host.copy(host.part(below, 1, of=2), host.part(comparison, 1, of=2))
        return replace(like.enhanced, planes=planes, comparison=comparison, pts=pts, origin=origin)


def _match(earlier: Real, last: Real) -> bool:
    """Whether one follows the other and both show the same area at the same sizes."""
    small, large = last.decoded, last.enhanced
    return (
        _follows(earlier, small)
        # Planes that are on their way from a device are not to be waited for here.
        and (earlier.enhanced.width, earlier.enhanced.height) == (large.width, large.height)
        # Between bars, a picture's motion would not lie where the picture is.
        and small.width * large.height == small.height * large.width
    )


def _follows(earlier: Real, last: Frame) -> bool:
    """Whether one comes after the other, motion can be found between them and frames be made by it."""
    small, large = earlier.decoded, earlier.enhanced
    return (
        small.time_s < last.time_s
        and (small.width, small.height) == (last.width, last.height)
        and can_make(small.width, small.height)
        and can_make(large.width, large.height)
    )


def _steps(pair: tuple[Real, Real], time_s: Fraction) -> float:
    """How many of the pair's intervals after its second frame."""
    first_s, second_s = (real.decoded.time_s for real in pair)
    return float((time_s - second_s) / (second_s - first_s))
