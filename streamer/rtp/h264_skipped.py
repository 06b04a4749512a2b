"""A coded H.264 picture that shows the one before it again: all of its macroblocks are skipped.

A skipped macroblock of a P slice takes its motion from its neighbours (ITU-T H.264, section
8.4.1.1); where all are skipped nothing moves, and deblocking finds nothing to do (section 8.7.2.1).
"""

from __future__ import annotations

from functools import lru_cache

from streamer.rtp.bits import BitWriter, escape
from streamer.rtp.h264_headers import Pps, Sps

_HEADER = b"\0\0\0\1\x21"
"""A start code, and a slice that is a reference and no IDR."""
_ALL_P = 5
_FORGET_ALL = 5
_QP = 51
"""By it the first skipped macroblock is expected already (section 9.3.1.1), which spares the rest of
the tables; it is used for nothing else."""
_STATE = 42
"""Of ctxIdx 11 at that QP with cabac_init_idc 0: ((23 * 51) >> 4) + 33 - 64."""
_LAST_STATE = 62
_HALF = 256
"""Of the coder's range, which is doubled below it."""
_LEAST_LIKELY = (
    *((16, 20, 23, 27), (15, 19, 22, 25), (14, 18, 21, 24), (14, 17, 20, 23), (13, 16, 19, 22)),
    *((12, 15, 18, 21), (12, 14, 17, 20), (11, 14, 16, 19), (11, 13, 15, 18), (10, 12, 15, 17)),
    *((10, 12, 14, 16), (9, 11, 13, 15), (9, 11, 12, 14), (8, 10, 12, 14), (8, 9, 11, 13)),
    *((7, 9, 11, 12), (7, 9, 10, 12), (7, 8, 10, 11), (6, 8, 9, 11), (6, 7, 9, 10), (6, 7, 8, 9)),
)
"""rangeTabLPS from ``_STATE`` on (table 9-44)."""


def skipped_picture(sps: Sps, pps: Pps, *, frame_num: int, poc_lsb: int, resets: bool) -> bytes:
    """One access unit: a reference with these numbers, equal to the reference decoded last.

    ``poc_lsb`` (pic_order_cnt_lsb) is written where slices tell the order. One that ``resets``
    stands for an IDR picture: the decoder forgets all others and numbers anew from 0.
    """
    slice_data = BitWriter()
    # From the first macroblock on.
    slice_data.ue(0)
    slice_data.ue(_ALL_P)
    slice_data.ue(pps.number)
    slice_data.bits(frame_num, sps.frame_num_bits)
    slice_data.bits(poc_lsb, sps.poc_bits)
    if sps.poc_type == 0 and pps.tells_bottom:
        slice_data.se(0)
    if pps.tells_redundancy:
        slice_data.ue(0)
    # One reference, the latest.
    slice_data.bits(1, 1)
    slice_data.ue(0)
    slice_data.bits(0, 1)
    if pps.is_weighted:
        _write_no_weights(slice_data, sps)
    # The oldest reference goes, or all of them.
    slice_data.bits(resets, 1)
    if resets:
        slice_data.ue(_FORGET_ALL)
        slice_data.ue(0)
    if pps.is_cabac:
        # cabac_init_idc
        slice_data.ue(0)
    slice_data.se(_QP - pps.qp)
    if pps.tells_deblocking:
        # None.
        slice_data.ue(1)
    if pps.is_cabac:
        slice_data.fill(1)
        return _HEADER + escape(slice_data.as_bytes() + _skips_by_cabac(sps.macroblocks))
    slice_data.ue(sps.macroblocks)
    slice_data.bits(1, 1)
    return _HEADER + escape(slice_data.as_bytes())


def _write_no_weights(slice_data: BitWriter, sps: Sps) -> None:
    """Section 7.3.3.2, for one reference: two shifts, and that nothing is weighted."""
    slice_data.ue(0)
    if sps.chroma:
        slice_data.ue(0)
    slice_data.bits(0, 2 if sps.chroma else 1)


@lru_cache(maxsize=8)
def _skips_by_cabac(macroblocks: int) -> bytes:
    """For each macroblock that it is skipped and whether the slice ends, and the trailing bits.

    The neighbours are skipped or outside, so that the context is always the first. The arithmetic
    coder (section 9.3.4.2) adds to its lower bound only for what is less likely, which here is the
    end alone: all bits before are 0, one for each time the range doubles.
    """
    state, span, doublings = _STATE, 510, 0
    for _ in range(macroblocks):
        if span < _HALF:
            span, doublings = 2 * span, doublings + 1
        span -= _LEAST_LIKELY[state - _STATE][span >> 6 & 3]
        if span < _HALF:
            span, doublings = 2 * span, doublings + 1
        # What is left for the slice's end.
        span -= 2
        state = min(state + 1, _LAST_STATE)
    # Ten bits of the lower bound, of which the very first of all is not written (section 9.3.4.2);
    # the last one is the stop bit.
    data = BitWriter()
    data.bits(span | 1, doublings + 9)
    return data.as_bytes()
