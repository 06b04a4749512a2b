"""A publisher made with FFmpeg, whose WHIP output PyAV brings along; it sends until it is killed."""

from __future__ import annotations

import sys
import time
from fractions import Fraction

import av
import numpy as np

FPS = 30
SIZE = 320, 180


def main(url: str, profile: str, cert_file: str, key_file: str) -> None:
    # Built with GnuTLS, FFmpeg makes a key of 224 bits by itself, which OpenSSL does not take.
    options = {"cert_file": cert_file, "key_file": key_file}
    with av.open(url, "w", format="whip", options=options) as output:
        stream = output.add_stream("libx264", rate=FPS)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"tune": "zerolatency", "profile": profile, "g": str(FPS)}
        stream.codec_context.flags |= av.codec.context.Flags.global_header
        began = time.monotonic()
        for number in range(10 * 60 * FPS):
            planes = np.full((SIZE[1] * 3 // 2, SIZE[0]), number % 200 + 20, np.uint8)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            for packet in stream.encode(frame):
                output.mux(packet)
            time.sleep(max(0.0, began + number / FPS - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
