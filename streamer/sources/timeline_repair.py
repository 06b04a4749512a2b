"""One timeline through reconnects, jumps and wraps of the sender's time stamps; no I/O.

A sender that restarts begins at zero again, one that is moved in time jumps, and one with an old
clock runs fast or slow. What comes out always goes on, at about the pace of the arrival clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

from streamer.frame import RTP_TIME_BASE, Packet, rescale

JUMP_S = Fraction(2)
"""Time stamps that step so far away from what the arrival clock says are no longer the same clock."""

BACK_S = Fraction(1, 10)
"""Decoding order never goes back; a jitter of the sender's clock may."""

SUSTAINED_S = 5
"""After so long at more than ``JUMP_S`` behind it is the sender's clock, and no network's stall."""

FARTHEST_S = Fraction(10)
"""No stall lasts so long: the watchdog has a source reopened before."""

MAX_REORDER_S = Fraction(10)
"""A picture shown later than this after it is decoded has a damaged time stamp."""

SOUND_STEP_S = Fraction(1, 7350)
"""Packets of sound lie at least so far apart: one sample at the lowest rate that AAC knows. MP4 counts in
samples, and takes no two packets of the same time: ticks of 1/90000 are finer than those of 48 kHz."""

_FOLLOW = Fraction(2000, 1_000_000)
"""The arrival clock's idea of the time follows the sender's so fast. Cheap oscillators are 100 ppm
off, clocks that software sets right 500, bad ones 1000: at 200 ppm those stepped by two seconds every
forty minutes."""

_OLD_CLOCK_NS = 1_000_000_000
"""Packets of the other stream may lie behind a jump for so long."""

_NS = 1_000_000_000


@dataclass(slots=True)
class _Last:
    """The packet before, of one stream."""

    wanted_s: Fraction
    """Where its time stamp put it, before it was made to increase."""
    dts: int
    time_base: Fraction


class TimelineRepair:
    """Gives each packet its place on the one timeline; call it in order of arrival."""

    def __init__(self) -> None:
        self.repairs = 0
        """How often the time stamps stepped; reconnects do not count."""
        self._shift_s = Fraction(0)
        self._old: tuple[Fraction, int] | None = None
        """The shift before the last jump, and when that was."""
        self._ahead_s: Fraction | None = None
        """Output time minus arrival time, as it was agreed and slowly followed."""
        self._last_arrived_ns = 0
        self._far_since_ns: int | None = None
        self._last: dict[str, _Last] = {}
        self._is_new = False

    def reconnected(self) -> None:
        """The next packet comes from another connection: its zero means nothing."""
        self._is_new = self._ahead_s is not None
        self._old = None
        self._far_since_ns = None

    def repaired(self, packet: Packet) -> Packet:
        """``packet`` on the one timeline: dts of each stream strictly increasing, pts not before."""
        arrived_s = Fraction(packet.arrived_ns, _NS)
        media_s = packet.dts * packet.time_base
        if self._ahead_s is None:
            self._ahead_s = media_s - arrived_s
        shift_s = self._shift_for(packet, media_s, expected_s=arrived_s + self._ahead_s)
        self._follow(packet.arrived_ns, media_s + shift_s - arrived_s)
        return self._placed(packet, media_s, shift_s)

    def _shift_for(self, packet: Packet, media_s: Fraction, *, expected_s: Fraction) -> Fraction:
        """What to add to the packet's times; on a jump the shift of all that follows changes."""
        off_s = media_s + self._shift_s - expected_s
        if self._is_new:
            self._is_new = False
            self._anchor(media_s, expected_s)
        elif self._belongs_before(packet.arrived_ns, media_s, expected_s, off_s=off_s):
            assert self._old is not None
            return self._old[0]
        elif self._steps(packet.stream, media_s, off_s=off_s) or self._is_off(
            packet.arrived_ns, off_s
        ):
            self.repairs += 1
            self._old = (self._shift_s, packet.arrived_ns)
            self._anchor(media_s, expected_s)
        return self._shift_s

    def _belongs_before(
        self, arrived_ns: int, media_s: Fraction, expected_s: Fraction, *, off_s: Fraction
    ) -> bool:
        """Whether it is a straggler: right by the shift before the jump, wrong by the new one."""
        if self._old is None or arrived_ns - self._old[1] > _OLD_CLOCK_NS:
            self._old = None
            return False
        return abs(off_s) > JUMP_S >= abs(media_s + self._old[0] - expected_s)

    def _steps(self, stream: str, media_s: Fraction, *, off_s: Fraction) -> bool:
        """Whether the time stamps themselves jump. A stall and the burst after it do not."""
        last = self._last.get(stream)
        if last is None:
            return abs(off_s) > JUMP_S
        step_s = media_s + self._shift_s - last.wanted_s
        return step_s < -BACK_S or (step_s > JUMP_S and abs(off_s) > JUMP_S)

    def _is_off(self, arrived_ns: int, off_s: Fraction) -> bool:
        """Whether the sender's clock has left ours behind, or the other way round.

        Ahead is a burst, such as what a server kept since its last keyframe: more than ``JUMP_S``
        of it is squeezed together, or each reconnect would move the output further ahead.
        """
        if off_s > JUMP_S:
            return True
        if off_s >= -JUMP_S:
            self._far_since_ns = None
            return False
        if self._far_since_ns is None:
            self._far_since_ns = arrived_ns
        is_sustained = arrived_ns - self._far_since_ns > SUSTAINED_S * _NS
        return is_sustained or off_s < -FARTHEST_S

    def _anchor(self, media_s: Fraction, expected_s: Fraction) -> None:
        """Let ``media_s`` mean now, or the end of what was given out, whichever is later."""
        ends = (last.dts * last.time_base for last in self._last.values())
        wanted_s = max([expected_s, *ends])
        self._far_since_ns = None
        # In whole ticks of video, so that its steps stay exactly what they were.
        self._shift_s = round((wanted_s - media_s) / RTP_TIME_BASE) * RTP_TIME_BASE

    def _follow(self, arrived_ns: int, ahead_s: Fraction) -> None:
        assert self._ahead_s is not None
        passed_s = Fraction(max(0, arrived_ns - self._last_arrived_ns), _NS)
        most_s = passed_s * _FOLLOW if self._last_arrived_ns else Fraction(0)
        off_s = ahead_s - self._ahead_s
        if abs(off_s) <= JUMP_S:
            # In nanoseconds: exact fractions would grow with every packet.
            moved_s = self._ahead_s + max(-most_s, min(most_s, off_s))
            self._ahead_s = Fraction(round(moved_s * _NS), _NS)
        self._last_arrived_ns = arrived_ns

    def _placed(self, packet: Packet, media_s: Fraction, shift_s: Fraction) -> Packet:
        base = packet.time_base
        ticks = rescale(1, shift_s, base) if shift_s else 0
        dts, pts = packet.dts + ticks, packet.pts + ticks
        last = self._last.get(packet.stream)
        if last is not None:
            step = ceil(SOUND_STEP_S / base) if packet.stream == "audio" else 1
            dts = max(dts, floor(last.dts * last.time_base / base) + step)
        pts = max(pts, dts)
        if (pts - dts) * base > MAX_REORDER_S:
            pts = dts
        self._last[packet.stream] = _Last(media_s + shift_s, dts, base)
        return replace(packet, dts=dts, pts=pts)
