"""The command ``streamer`` with RTSP read by libav's demuxer: the other side of the comparison.

One line of the table of sources is changed; all after the source is the same.
"""

from __future__ import annotations

from streamer.cli import main
from streamer.sources.opening import OPENERS

if __name__ == "__main__":
    OPENERS["rtsp"] = OPENERS["network"]
    main()
