from fractions import Fraction

import av
import pytest

from streamer.sources.elementary import frame_rate
from tests.clips import Clips, moving
from tests.programs import needs

ENCODERS = {
    "h264": ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"),
    "h264_interlaced": ("-c:v", "libx264", "-preset", "ultrafast", "-flags", "+ildct+ilme"),
    "hevc": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"),
    "mpeg2": ("-c:v", "mpeg2video"),
}
# As the network sources open them: a live picture is not kept waiting for a measured rate.
SHORT_LOOK = {"analyzeduration": "500000", "fpsprobesize": "0"}


@needs("ffmpeg")
@pytest.mark.parametrize("frames", [3, 60])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_rate_is_that_of_pictures_however_few_were_seen(
    clips: Clips, encoder: str, frames: int
) -> None:
    clip = clips.made(
        f"rate_{encoder}_{frames}.ts",
        *moving(rate="25", frames=frames),
        *ENCODERS[encoder],
        *("-pix_fmt", "yuv420p"),
    )
    with av.open(str(clip), options=SHORT_LOOK) as container:
        assert frame_rate(container.streams.video[0]) == Fraction(25)
