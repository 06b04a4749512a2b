"""The headers of H.264 that say how pictures are numbered: parameter sets and slices.

Plain streams only: whole frames, one slice group, an order of pictures that each tells or that is
that of decoding. What is not plain is not read. Section numbers are those of ITU-T H.264.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamer.rtp.bits import BitReader, OutOfBits, unescape

_IDR = 5
_P, _B, _SP, _SI = 0, 1, 3, 4
_HIGH = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
"""Profiles whose sequence parameter sets state the format of chroma (section 7.3.2.1.1)."""
_EXTENDED = 88
"""Its slices may lie in partitions."""
_MAX_NUMBER_BITS = 16
_MAX_MACROBLOCKS = 139_264
"""No level allows more (table A-1)."""
_MAX_REFERENCES = 32
HEADER_BYTES = 512
"""A slice's header with weights for 32 references is not longer."""
_FORGET_SHORT, _NO_LONG, _RESET = 1, 4, 5
"""Memory management control operations (table 7-9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sps:
    """A sequence parameter set."""

    number: int
    chroma: int
    """chroma_format_idc: 0 for grey, 1 for 4:2:0."""
    frame_num_bits: int
    poc_type: int
    """pic_order_cnt_type: 0 where slices tell the order, 2 where it is that of decoding."""
    poc_bits: int
    """Of pic_order_cnt_lsb; 0 where slices do not tell the order."""
    macroblocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pps:
    """A picture parameter set."""

    number: int
    sps: int
    """The number of the sequence parameter set that it belongs to."""
    is_cabac: bool
    tells_bottom: bool
    """bottom_field_pic_order_in_frame_present_flag."""
    references: int
    """num_ref_idx_l0_default_active_minus1 + 1."""
    is_weighted: bool
    qp: int
    tells_deblocking: bool
    tells_redundancy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What the header of a slice says of its picture."""

    sps: Sps
    pps: Pps
    is_plain: bool
    """No B-frame, and nothing is kept as a long-term reference."""
    is_idr: bool
    is_reference: bool
    resets: bool
    """After it frames are numbered anew (memory management control operation 5)."""
    first: int
    """Number of its first macroblock."""
    frame_num: int
    poc_lsb: int
    """pic_order_cnt_lsb; 0 where slices do not tell it."""


def read_sps(nal: bytes) -> Sps | None:
    """A sequence parameter set from its NAL unit (section 7.3.2.1.1); ``None`` if it is not plain."""
    reader = BitReader(unescape(nal[1:]))
    try:
        profile = reader.bits(8)
        reader.bits(16)
        number = reader.ue()
        chroma = 1
        if profile in _HIGH:
            chroma = reader.ue()
            if chroma == 3 and reader.bits(1):
                # Three colours that are coded as three pictures.
                return None
            reader.ue()
            reader.ue()
            reader.bits(1)
            if reader.bits(1):
                _pass_scaling(reader, lists=12 if chroma == 3 else 8)
        frame_num_bits = reader.ue() + 4
        poc_type = reader.ue()
        if poc_type not in (0, 2):
            return None
        poc_bits = reader.ue() + 4 if poc_type == 0 else 0
        references = reader.ue()
        may_leave_out = reader.bits(1)
        width, height = reader.ue() + 1, reader.ue() + 1
        is_frames_only = reader.bits(1)
    except OutOfBits:
        return None
    # Where numbers may be left out, a sender drops frames of a temporal layer: nothing was lost.
    if profile == _EXTENDED or may_leave_out or not is_frames_only or not references:
        return None
    is_possible = max(frame_num_bits, poc_bits) <= _MAX_NUMBER_BITS
    if not is_possible or width * height > _MAX_MACROBLOCKS:
        return None
    return Sps(
        number=number,
        chroma=chroma,
        frame_num_bits=frame_num_bits,
        poc_type=poc_type,
        poc_bits=poc_bits,
        macroblocks=width * height,
    )


def read_pps(nal: bytes) -> Pps | None:
    """A picture parameter set from its NAL unit (section 7.3.2.2); ``None`` if it is not plain."""
    reader = BitReader(unescape(nal[1:]))
    try:
        number, sps = reader.ue(), reader.ue()
        is_cabac, tells_bottom = bool(reader.bits(1)), bool(reader.bits(1))
        if reader.ue():
            # Several slice groups.
            return None
        references = reader.ue() + 1
        reader.ue()
        is_weighted = bool(reader.bits(1))
        reader.bits(2)
        qp = 26 + reader.se()
        reader.se()
        reader.se()
        tells_deblocking = bool(reader.bits(1))
        reader.bits(1)
        tells_redundancy = bool(reader.bits(1))
    except OutOfBits:
        return None
    return Pps(
        number=number,
        sps=sps,
        is_cabac=is_cabac,
        tells_bottom=tells_bottom,
        references=references,
        is_weighted=is_weighted,
        qp=qp,
        tells_deblocking=tells_deblocking,
        tells_redundancy=tells_redundancy,
    )


def read_slice(
    nal: bytes, sps_by_number: Mapping[int, Sps], pps_by_number: Mapping[int, Pps]
) -> Slice | None:
    """The header of a slice, from the beginning of its NAL unit (section 7.3.3).

    ``None`` where it is damaged, or needs parameter sets that are not among these.
    """
    reader = BitReader(unescape(nal[1:HEADER_BYTES]))
    is_idr, is_reference = nal[0] & 0x1F == _IDR, bool(nal[0] & 0x60)
    try:
        first, kind = reader.ue(), reader.ue() % 5
        pps = pps_by_number.get(reader.ue())
        sps = sps_by_number.get(pps.sps) if pps is not None else None
        if sps is None or pps is None:
            return None
        frame_num = reader.bits(sps.frame_num_bits)
        if is_idr:
            reader.ue()
        poc_lsb = reader.bits(sps.poc_bits)
        if sps.poc_type == 0 and pps.tells_bottom:
            reader.se()
        if pps.tells_redundancy:
            reader.ue()
        marking = _Marking(is_plain=kind not in (_B, _SP, _SI), resets=False)
        if marking.is_plain:
            if kind == _P:
                _pass_references(reader, sps, pps)
            if is_reference:
                marking = _read_marking(reader, is_idr=is_idr)
    except OutOfBits:
        return None
    return Slice(
        sps=sps,
        pps=pps,
        is_plain=marking.is_plain,
        is_idr=is_idr,
        is_reference=is_reference,
        resets=marking.resets,
        first=first,
        frame_num=frame_num,
        poc_lsb=poc_lsb,
    )


@dataclass(frozen=True, slots=True)
class _Marking:
    is_plain: bool
    resets: bool


def _pass_scaling(reader: BitReader, *, lists: int) -> None:
    """Section 7.3.2.1.1.1."""
    for index in range(lists):
        if not reader.bits(1):
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + reader.se()) % 256
            last = following or last


def _pass_references(reader: BitReader, sps: Sps, pps: Pps) -> None:
    """Which references a P slice has, and how they are weighted (sections 7.3.3.1, 7.3.3.2)."""
    references = reader.ue() + 1 if reader.bits(1) else pps.references
    if references > _MAX_REFERENCES:
        raise OutOfBits
    if reader.bits(1):
        # Three says that the list ends.
        while reader.ue() != 3:
            reader.ue()
    if not pps.is_weighted:
        return
    reader.ue()
    if sps.chroma:
        reader.ue()
    for _ in range(references):
        for numbers in (2, 4) if sps.chroma else (2,):
            if reader.bits(1):
                for _ in range(numbers):
                    reader.se()


def _read_marking(reader: BitReader, *, is_idr: bool) -> _Marking:
    """What becomes of the references (section 7.3.3.3)."""
    if is_idr:
        reader.bits(1)
        return _Marking(is_plain=not reader.bits(1), resets=False)
    if not reader.bits(1):
        return _Marking(is_plain=True, resets=False)
    resets = False
    while operation := reader.ue():
        if operation == _RESET:
            resets = True
        elif operation in (_FORGET_SHORT, _NO_LONG):
            reader.ue()
        else:
            return _Marking(is_plain=False, resets=False)
    return _Marking(is_plain=True, resets=resets)
