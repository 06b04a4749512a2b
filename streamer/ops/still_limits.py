"""What counts as standing still, and why; for both ways in which it is found."""

from __future__ import annotations

from kernels.native_still import Limits

NEEDED = 4
"""Pairs in a row without a change. What moves rarely looks the same for as long."""

OLDEST = 254
"""Pairs; one more still fits a byte."""

LEAST_CHANGE, CHANGE_256 = 10, 90
"""A change: more than so many code values, and than so many 1/256 of the contrast around. A codec lets
the edges of standing text tremble by a quarter of theirs; what moves changes by all of its."""

CONTRAST = 20
"""Code values among three by three pixels; what is even needs no copy."""

CROWD = 4
"""Of three by three pixels, which must be still for the middle one to count: in a stroke two pixels
wide six are, what matched by chance stands alone or in a row."""

DOUBT, TIMES = 12 / 255, 4.0
"""Standing still explains a pixel when it leaves this much less mismatch than a quarter of what
motion leaves around it: a fine flow follows letters half-way, and next to them nothing stands.
Without this evidence the detail of every slow pan would be copied, which costs 0.6 dB on the mean of
22 clips; with it, nothing on most."""

AROUND = 9
"""Pixels of the half-size picture over which evidence is gathered, about a letter."""

PACE, ENOUGH = 0.125, 0.05
"""Evidence is averaged over about eight pairs: not every background betrays every letter at once.
A twentieth of the still pixels around is enough; text shows 10 % and more."""

REACH = 3
"""Pixels around a still one that are copied as well: the seams of glyphs, and ghosts that were dragged
there."""

LIMITS = Limits(
    least_change=LEAST_CHANGE,
    change=CHANGE_256,
    oldest=OLDEST,
    needed=NEEDED,
    least_contrast=CONTRAST,
    crowd=CROWD,
    doubt=DOUBT,
    times=TIMES,
    pace=PACE,
    enough=ENOUGH,
)
