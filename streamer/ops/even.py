"""Pictures with sides that are even, as 4:2:0 needs them."""

from __future__ import annotations

from fractions import Fraction

import av
import av.filter

from streamer.ops.deinterlace import shape_of


class EvenSides:
    """Cuts an odd last line or column, without a copy; belongs to one thread.

    Before a conversion that halves the planes of colour: libav's scaler stretches an odd side to the
    next whole number of them, so that colours move towards the end by up to a pixel.
    """

    def __init__(self) -> None:
        self._shape = (0, 0, "")
        self._graph = av.filter.Graph()

    def of(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture itself where no side is odd, or where colours are not scaled along it."""
        if not _is_stretched(picture):
            return picture
        if shape_of(picture) != self._shape:
            self._begin(picture)
        self._graph.push(picture)
        cut = self._graph.pull()
        assert isinstance(cut, av.VideoFrame)
        return cut

    def _begin(self, first: av.VideoFrame) -> None:
        self._shape = shape_of(first)
        self._graph = av.filter.Graph()
        filters = [
            self._graph.add_buffer(
                width=first.width,
                height=first.height,
                format=first.format,
                time_base=first.time_base or Fraction(1, 1000),
            ),
            self._graph.add("crop", f"{first.width & ~1}:{first.height & ~1}:0:0:exact=1"),
            self._graph.add("buffersink"),
        ]
        self._graph.link_nodes(*filters).configure()


def _is_stretched(picture: av.VideoFrame) -> bool:
    """Whether along an odd side there are not as many places of colour as 4:2:0 has; RGB has more."""
    parts = picture.format.components
    # A palette is one plane, of RGB.
    if len(parts) < 3 and not picture.format.has_palette:
        return False
    colour = parts[min(1, len(parts) - 1)]
    return any(
        side % 2 == 1 and of_colour != (side + 1) // 2
        for side, of_colour in ((picture.width, colour.width), (picture.height, colour.height))
    )
