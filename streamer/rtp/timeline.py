"""One timeline for the tracks of a session, so that picture and sound line up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SECOND_NS = 1_000_000_000

JUMP_NS = 2 * SECOND_NS
"""A time stamp that much before the last one, or that much further ahead than time went by, means
that the sender's clock began anew. B-frames go back less, a stalled line does not go ahead."""
IMPLAUSIBLE_NS = 10 * SECOND_NS
"""Clocks of a sender that put its tracks further apart than they arrive are not believed: no
server holds one track back for so long."""
CLOCK_STEP_NS = SECOND_NS // 4
"""A sender's wall clock that moves so far between two reports was set: one track's new reading
does not fit the other's old one. Real ones wander by some milliseconds."""
BELIEVED_REPORTS = 3
"""A reading that disagrees with the ones before counts when so many say the same."""

SETTLING_NS = 3 * SECOND_NS
"""How long a track may be moved at once by what arrives: servers begin with a burst."""
WINDOW_NS = 8 * SECOND_NS
SLEW_PARTS = 100
"""Sound is moved by at most one part in so many of its length: 10 ms in a second."""
CATCH_UP_PARTS = 2
"""A step back is made at half speed: time stamps of sound never go back."""
ARRIVED_NS = 1_000_000
"""Nearer than this, a step back is done."""
STEP_NS = SECOND_NS // 2
"""An error this large is never slewed: it would take most of a minute."""
STOOD_STILL_NS = SECOND_NS // 4
PROOF_NS = SECOND_NS
"""Time stamps that went on by so much less than time did during a pause, and are not made up for within
so long: the sender counts only what it sends, as browsers do without a microphone."""
NEAR_READING_NS = 60 * SECOND_NS

_ARRIVAL, _RTP_INFO, _REPORTS = 0, 1, 2
_NAMES = ("arrival", "rtp-info", "sender reports")
_UNHEARD_NS = (30_000_000, 10_000_000, 5_000_000)
"""By alignment: errors below this are left alone. Lip-sync is noticed from about 45 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReading:
    """A sender report's statement: this timestamp was sampled at this instant."""

    timestamp: int
    """Unwrapped, as in ``AccessUnit.timestamp``."""
    ntp_ns: int
    """Nanoseconds since 1970, as the sender's clock says."""
    arrived_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineStatistics:
    """What the timeline had to do."""

    jumps: int
    """Times that a track's clock began anew and was tied on by arrival."""
    steps: int
    """Times that the sound was moved at once, or at half speed, instead of slewed."""
    audio_moved_ns: int
    """How far the sound is from where arrival put it."""
    alignment: str
    """What the sound is aligned by: "arrival", "rtp-info" or "sender reports"."""


class Timeline:
    """Gives every unit its place: ``timeline.pts("audio", unit.timestamp, unit.arrived_ns)``.

    Video is the master: its pts run as its timestamps do. Audio is moved towards it. Feed every
    unit, also those that are not passed on, so that the start is known. Used from one thread.

    Note [Lining up tracks]
    Each track's timestamps get an offset. Two tracks line up when, at one instant of some common
    clock, both stand at the same place: ``offset_a - key_a == offset_v - key_v``, where a track's
    key is what leads from its timestamps to that clock. By sender reports the clock is the
    sender's NTP time; by RTP-Info it is the start of play; by arrival it is our own, with the
    fastest packet of the last seconds standing for all.
    """

    def __init__(self, clock_rates: Mapping[str, int]) -> None:
        """``clock_rates`` in Hz by track name; "video", or else the first one, is the master."""
        self._tracks = {name: _Track(rate) for name, rate in clock_rates.items()}
        first = next(iter(clock_rates))
        self._master = self._tracks.get("video") or self._tracks[first]
        self._zero_ns: int | None = None
        self._jumps = 0
        self._steps = 0

    @property
    def statistics(self) -> TimelineStatistics:
        moved = next((t for t in self._tracks.values() if t is not self._master), self._master)
        return TimelineStatistics(
            jumps=self._jumps,
            steps=self._steps,
            audio_moved_ns=(moved.offset_ns or 0) - moved.first_offset_ns,
            alignment=_NAMES[max(moved.alignment, _ARRIVAL)],
        )

    def begin(self, track: str, rtptime: int) -> None:
        """RTSP's ``RTP-Info`` names the timestamp (32 bits) at which play began.

        Aligns tracks that all have one, until sender reports do better; a value that the first
        unit shows to be wrong is left out. Over TCP the first unit may come before it.
        """
        own = self._tracks[track]
        own.rtptime = rtptime
        if own.offset_ns is not None:
            own.check_rtptime()

    def on_clock_reading(self, track: str, reading: ClockReading) -> None:
        """A sender report came for ``track``."""
        others = [other for name, other in self._tracks.items() if name != track]
        own = self._tracks[track]
        if own.reading is None or own.is_near(reading, own.reading):
            own.reading, own.doubtful = reading, None
            return
        if own.doubtful is None or not own.is_near(reading, own.doubtful):
            own.doubts = 0
        own.doubtful = reading
        own.doubts += 1
        # A clock that was set shows in every track; a single one is believed in the end.
        if own.doubts >= BELIEVED_REPORTS or all(t.doubtful or not t.reading for t in others):
            for each in self._tracks.values():
                if each.doubtful is not None:
                    each.reading, each.doubtful = each.doubtful, None

    def pts(self, track: str, timestamp: int, arrived_ns: int) -> int:
        """Where a unit belongs, in ticks of 1 / its clock rate; 0 is where the stream began.

        Video keeps the distances of its timestamps; audio never goes back. Sound that is older
        than the first unit lies before 0.
        """
        own = self._tracks[track]
        is_first = own.offset_ns is None
        if is_first:
            self._place(own, timestamp, arrived_ns)
        elif own.has_jumped(timestamp, arrived_ns):
            self._jumps += 1
            own.tie_on(timestamp, arrived_ns)
            for other in self._tracks.values():
                if other is not own:
                    # The wall clock may have been set as well: only what both say from here on counts.
                    other.reading = None
        elif (
            own is not self._master
            and own.has_stood_still(timestamp, arrived_ns)
            # Else the line has become slower, for the picture as well.
            and self._master.late_ns < STOOD_STILL_NS
        ):
            self._jumps += 1
            own.go_on_after_pause(arrived_ns)
        own.add_transit(timestamp, arrived_ns)
        if own is not self._master and self._master.offset_ns is not None:
            alignment, target_ns = self._target(own, self._master.offset_ns)
            if is_first:
                own.offset_ns = own.first_offset_ns = target_ns
            else:
                self._move(own, target_ns, alignment, timestamp, arrived_ns)
            own.alignment = alignment
        return own.advance(timestamp, arrived_ns, may_go_back=own is self._master)

    def _place(self, own: _Track, timestamp: int, arrived_ns: int) -> None:
        """A track's first unit lies where it arrived, counted from the first one of all."""
        if self._zero_ns is None:
            self._zero_ns = arrived_ns
        own.tie(timestamp, max(0, arrived_ns - self._zero_ns), arrived_ns)
        own.check_rtptime()

    def _move(
        self, own: _Track, target_ns: int, alignment: int, timestamp: int, arrived_ns: int
    ) -> None:
        """Bring sound nearer to where it belongs: at once if that is new, else bit by bit."""
        error_ns = target_ns - (own.offset_ns or 0)
        is_heard = abs(error_ns) > _UNHEARD_NS[alignment]
        if own.is_catching_up:
            own.is_catching_up = error_ns < -ARRIVED_NS
        elif is_heard:
            tied_ns = max(own.tied_ns, self._master.tied_ns)
            is_settling = arrived_ns - tied_ns < SETTLING_NS
            if alignment > own.alignment or is_settling or abs(error_ns) > STEP_NS:
                self._steps += 1
                own.is_catching_up = error_ns < 0
                if error_ns > 0:
                    own.offset_ns = target_ns
        if is_heard or own.is_catching_up:
            own.slew(target_ns, timestamp)

    def _target(self, own: _Track, offset_ns: int) -> tuple[int, int]:
        """By what the track can be aligned, and the offset it should have. See Note [Lining up
        tracks]."""
        master = self._master
        by_arrival = offset_ns + own.transit.lowest - master.transit.lowest
        for alignment in (_REPORTS, _RTP_INFO):
            key, master_key = own.key_ns(alignment), master.key_ns(alignment)
            if key is None or master_key is None:
                continue
            target_ns = offset_ns + key - master_key
            if abs(target_ns - by_arrival) <= IMPLAUSIBLE_NS:
                return alignment, target_ns
        return _ARRIVAL, by_arrival


class _Track:
    """One track's place on the timeline."""

    def __init__(self, clock_rate: int) -> None:
        self.clock_rate = clock_rate
        self.offset_ns: int | None = None
        """What is added to its timestamps, in nanoseconds."""
        self.first_offset_ns = 0
        self.is_catching_up = False
        self.alignment = -1
        self.tied_ns = 0
        """When it was last placed by arrival."""
        self.transit = _Lowest()
        """Arrival minus timestamp, in nanoseconds."""
        self.rtptime: int | None = None
        self.reading: ClockReading | None = None
        """The reading that the alignment rests on."""
        self.doubtful: ClockReading | None = None
        """One that disagrees with it."""
        self.doubts = 0
        self.late_ns = 0
        """By how much longer than the fastest ones of late its newest unit was under way."""
        self._paused_ns: int | None = None
        """When the first unit after a pause came, while it is watched whether its clock stood still."""
        self._lowest_before_ns = 0
        self._lowest_since_ns = 0
        """The shortest way before and since, as in ``transit``."""
        self._timestamp = 0
        self._arrived_ns = 0
        self._top_pts = -(1 << 62)

    def in_ns(self, ticks: int) -> int:
        return ticks * SECOND_NS // self.clock_rate

    def is_near(self, one: ClockReading, other: ClockReading) -> bool:
        """Whether two readings tell of the same clock."""
        apart_ns = self.in_ns(one.timestamp - other.timestamp)
        return abs(one.ntp_ns - other.ntp_ns - apart_ns) < CLOCK_STEP_NS

    def key_ns(self, alignment: int) -> int | None:
        """What leads from its timestamps to the common clock."""
        if alignment == _REPORTS and self.reading is not None:
            return self.reading.ntp_ns - self.in_ns(self.reading.timestamp)
        if alignment == _RTP_INFO and self.rtptime is not None:
            return -self.in_ns(self.rtptime)
        return None

    def has_jumped(self, timestamp: int, arrived_ns: int) -> bool:
        """Whether the sender's clock began anew before this unit."""
        step_ns = self.in_ns(timestamp - self._timestamp)
        return not -JUMP_NS <= step_ns <= JUMP_NS + max(0, arrived_ns - self._arrived_ns)

    def has_stood_still(self, timestamp: int, arrived_ns: int) -> bool:
        """Whether it is now clear that the sender's clock did not run during the last pause.

        A line that stood still brings what it kept back faster than in real time.
        """
        transit_ns = arrived_ns - self.in_ns(timestamp)
        step_ns = self.in_ns(timestamp - self._timestamp)
        if arrived_ns - self._arrived_ns - step_ns > STOOD_STILL_NS:
            self._paused_ns, self._lowest_before_ns = arrived_ns, self.transit.lowest
            self._lowest_since_ns = transit_ns
        if self._paused_ns is None:
            return False
        self._lowest_since_ns = min(self._lowest_since_ns, transit_ns)
        if arrived_ns - self._paused_ns < PROOF_NS:
            return False
        self._paused_ns = None
        return self._lowest_since_ns - self._lowest_before_ns > STOOD_STILL_NS

    def go_on_after_pause(self, arrived_ns: int) -> None:
        """Leave out the pause that the time stamps do not know of."""
        self.offset_ns = (self.offset_ns or 0) + self._lowest_since_ns - self._lowest_before_ns
        self.tied_ns = arrived_ns
        self.transit = _Lowest()
        self.transit.add(self._lowest_since_ns, arrived_ns)
        self.alignment = -1
        self.is_catching_up = False
        # What it said before the pause holds no more.
        self.reading, self.doubtful, self.rtptime = self.doubtful, None, None

    def add_transit(self, timestamp: int, arrived_ns: int) -> None:
        """Note how long this unit was under way."""
        transit_ns = arrived_ns - self.in_ns(timestamp)
        self.transit.add(transit_ns, arrived_ns)
        self.late_ns = transit_ns - self.transit.lowest

    def tie(self, timestamp: int, place_ns: int, arrived_ns: int) -> None:
        """From here on ``timestamp`` lies ``place_ns`` after the start."""
        self.offset_ns = self.first_offset_ns = place_ns - self.in_ns(timestamp)
        self.tied_ns = arrived_ns
        self._timestamp = timestamp

    def tie_on(self, timestamp: int, arrived_ns: int) -> None:
        """The unit lies as long after the last one as it arrived after it."""
        # A report may come before the first unit that it is about.
        newest = self.doubtful or self.reading
        if newest and not self._is_of(newest, timestamp, arrived_ns):
            newest = None
        gap_ns = max(0, arrived_ns - self._arrived_ns)
        ticks = self._top_pts + max(1, gap_ns * self.clock_rate // SECOND_NS)
        self.tie(timestamp, self.in_ns(ticks), arrived_ns)
        self.transit = _Lowest()
        self._paused_ns = None
        self.alignment = -1
        self.is_catching_up = False
        self.reading = newest
        self.rtptime = self.doubtful = None

    def _is_of(self, reading: ClockReading, timestamp: int, arrived_ns: int) -> bool:
        """Whether it tells of the clock that begins with this unit, and not of the one before."""

        def off_ns(other: int, other_arrived_ns: int) -> int:
            passed_ns = reading.arrived_ns - other_arrived_ns
            return abs(self.in_ns(reading.timestamp - other) - passed_ns)

        new_ns = off_ns(timestamp, arrived_ns)
        return new_ns < min(NEAR_READING_NS, off_ns(self._timestamp, self._arrived_ns))

    def check_rtptime(self) -> None:
        """Unwrap the start that RTP-Info stated; forget it if it lies nowhere near."""
        if self.rtptime is None:
            return
        ticks = (self._timestamp - self.rtptime + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        is_near = abs(self.in_ns(ticks)) <= IMPLAUSIBLE_NS
        self.rtptime = self._timestamp - ticks if is_near else None

    def slew(self, target_ns: int, timestamp: int) -> None:
        """Go towards the target, in proportion to the time since the unit before."""
        if self.offset_ns is None:
            return
        parts = CATCH_UP_PARTS if self.is_catching_up else SLEW_PARTS
        step_ns = max(0, self.in_ns(timestamp - self._timestamp)) // parts
        self.offset_ns += max(-step_ns, min(step_ns, target_ns - self.offset_ns))

    def advance(self, timestamp: int, arrived_ns: int, *, may_go_back: bool) -> int:
        """The unit's pts; from now on it is the one before."""
        offset_ns = self.offset_ns or 0
        pts = timestamp + (offset_ns * self.clock_rate + SECOND_NS // 2) // SECOND_NS
        if pts <= self._top_pts and not may_go_back:
            pts = self._top_pts + 1
        self._top_pts = max(self._top_pts, pts)
        self._timestamp = timestamp
        self._arrived_ns = arrived_ns
        return pts


class _Lowest:
    """The lowest of the last ``WINDOW_NS`` to twice that."""

    def __init__(self) -> None:
        self._before: int | None = None
        self._now: int | None = None
        self._since_ns = 0

    @property
    def lowest(self) -> int:
        """0 before the first value."""
        known = [value for value in (self._before, self._now) if value is not None]
        return min(known, default=0)

    def add(self, value: int, now_ns: int) -> None:
        if self._now is None:
            self._now, self._since_ns = value, now_ns
        elif now_ns - self._since_ns > WINDOW_NS:
            self._before, self._now, self._since_ns = self._now, value, now_ns
        elif value < self._now:
            self._now = value
