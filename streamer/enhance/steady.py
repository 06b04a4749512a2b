"""Makes enlarged pictures with the help of the one before: calmer, and with what that one showed."""

from __future__ import annotations

from streamer.enhance.denoise import change_by
from streamer.frame import Planes
from streamer.infer.engine import Engine
from streamer.ops import host
from streamer.ops.follower import Follower


class Steady:
    """A network as denoising has it, behind the one that enlarges.

    It follows the enlarged pictures, not the network's residuals: the plain upscale below these
    flickers as much. Another tier's picture may be the one before. Belongs to one thread.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._follower = Follower(change_by(engine), kind=engine.manifest.residual_dtype)

    def reset(self) -> None:
        """What comes next follows nothing: frames were left out, or not steadied."""
        self._follower.reset()

    def steady(self, planes: Planes, out: Planes) -> None:
        """Fills ``out`` with what is made of the finished picture ``planes``, of the same even sides;
        neither may change until the next call. Another size than before begins anew.

        Where the network fails it is the picture as it came.
        """
        if not self._follower.make(planes, out):
            host.copy(planes, out)

    def warm_up(self, width: int, height: int) -> None:
        """Run once at this size: a runtime's first run plans its memory and takes far longer."""
        self._follower.warm_up(width, height)

    def close(self) -> None:
        self.engine.close()
