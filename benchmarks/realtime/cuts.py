"""Scenario ``cuts``: no picture that is made at a cut is a blend of the two shots."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.goal import Goal
from benchmarks.latency.crew import ROOT
from benchmarks.quality.material import Kind, as_tuple, find_items, read_frames, shrink_to_fit
from benchmarks.realtime.session import rounded
from benchmarks.realtime.settings import Outcome, Settings
from streamer.errors import ConfigError
from streamer.frame import Plane, Planes
from streamer.metrics import summary_of
from streamer.sources.scene import Scene

FPS = 30
SHOT_FRAMES = 20
SHOTS = 12
WIDTH, HEIGHT = 640, 360
LONGER_SIDE = 640

SMALL = (40, 24)
"""Size at which shots are compared: motion of a few pixels does not show there, a blend does."""

MOST_MIXED = 0.2
"""Share of the other shot in a picture. A blend halfway has 0.5; a picture predicted from one shot
alone differs from it by its motion, of which a part may look like the other shot by chance."""

CRF = "4"
"""Of the result: coding must not add what would count as the other shot."""


@dataclass(frozen=True, slots=True)
class Made:
    """A picture that stands at a cut, and how much of each shot is in it."""

    time_s: float
    share: float
    """Of the later shot: 0 and 1 are pictures of one shot, 0.5 is a blend."""

    @property
    def mixed(self) -> float:
        """The share of the shot that it is less like; 0 where it is beyond either."""
        return max(0.0, min(self.share, 1 - self.share))


def cuts(settings: Settings) -> Outcome:
    """Shots in a row, doubled from file to file, and every picture made across a cut."""
    with TemporaryDirectory() as folder:
        clip, result = Path(folder) / "shots.mp4", Path(folder) / "doubled.mp4"
        number = _write(clip, _shots(settings))
        _double(clip, result)
        made = at_cuts(_lumas(result), number)
    if not made:
        raise ConfigError("nothing was made between the last picture of a shot and the next one")
    mixed = [one.mixed for one in made]
    return Outcome(
        claim="across a cut a picture in between is a copy or a prediction of one shot, never a "
        "blend of both",
        baseline=f"a blend halfway, of which {MOST_MIXED:g} is well below half of each shot",
        left_out="fades, which are no cuts",
        goals=(
            Goal(
                what="largest share of the other shot in a picture at a cut",
                measured=max(mixed),
                at_most=MOST_MIXED,
            ),
            Goal(
                what="pictures judged at cuts, of one at each",
                measured=len(made) / (len(number) - 1),
                at_least=1.0,
            ),
        ),
        extra={
            "shots": len(number),
            "mixed": summary_of(mixed).as_dict(),
            "pictures": [
                {"time_s": rounded(one.time_s), "share_of_next": rounded(one.share)} for one in made
            ],
        },
    )


def share_of_next(picture: Plane, before: Plane, after: Plane) -> float | None:
    """How much of ``after`` is in a picture on the line from ``before`` to it, by least squares.

    ``None`` where the two do not differ enough to tell.
    """
    shown, first, second = (_small(one) for one in (picture, before, after))
    way = second - first
    length = float((way * way).mean())
    return None if length < 4.0 else float(((shown - first) * way).mean()) / length


def at_cuts(pictures: Sequence[tuple[Fraction, Plane]], numbers: Sequence[int]) -> list[Made]:
    """Of pictures with their times: those between two shots, each against the real ones around it.

    ``numbers`` are the frames of each shot, in order.
    """
    half = Fraction(1, 4 * FPS)
    made = []
    ends = np.cumsum(numbers)[:-1]
    for end in ends:
        last_s, first_s = Fraction(int(end) - 1, FPS), Fraction(int(end), FPS)
        before = [luma for at_s, luma in pictures if abs(at_s - last_s) < half]
        after = [luma for at_s, luma in pictures if abs(at_s - first_s) < half]
        if not before or not after:
            continue
        for at_s, luma in pictures:
            if last_s + half <= at_s <= first_s - half:
                share = share_of_next(luma, before[0], after[0])
                if share is not None:
                    made.append(Made(float(at_s), share))
    return made


def _small(luma: Plane) -> NDArray[np.float64]:
    shrunk = cv2.resize(luma, SMALL, interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, dtype=np.float64)


def _shots(settings: Settings) -> list[list[Planes]]:
    """Pieces of the clips in the data folders, or of the drawn scene, of one size."""
    if not settings.data:
        scene = Scene(seed=2, width=WIDTH, height=HEIGHT, cut_s=Fraction(SHOT_FRAMES, FPS))
        whole = [scene.draw(Fraction(n, FPS)) for n in range(SHOTS * SHOT_FRAMES)]
        return [whole[n : n + SHOT_FRAMES] for n in range(0, len(whole), SHOT_FRAMES)]
    items = [
        item
        for folder in settings.data
        for item in find_items(folder, kinds=(Kind.CLIP,), prefixes=(), limit=SHOTS)
    ]
    shots = []
    for item in islice(items, SHOTS):
        frames = [as_tuple(one) for one in read_frames(item, limit=SHOT_FRAMES)]
        shots.append([_filled(shrink_to_fit(one, LONGER_SIDE)) for one in frames])
    if len(shots) < 2:
        raise ConfigError("cuts needs two clips or more in the folders of --data")
    return shots


def _filled(planes: Planes) -> Planes:
    """Cut or padded with black to the size of the clip."""
    filled = []
    for plane, parts, black in zip(planes, (1, 2, 2), (16, 128, 128), strict=True):
        full = np.full((HEIGHT // parts, WIDTH // parts), black, np.uint8)
        rows, columns = (min(a, b) for a, b in zip(plane.shape, full.shape, strict=True))
        full[:rows, :columns] = plane[:rows, :columns]
        filled.append(full)
    y, u, v = filled
    return y, u, v


def _write(path: Path, shots: Sequence[Sequence[Planes]]) -> list[int]:
    """One clip of all; the number of frames of each shot."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": CRF, "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, planes in enumerate(planes for shot in shots for planes in shot):
            picture = av.VideoFrame.from_dlpack(planes, format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return [len(shot) for shot in shots]


def _double(clip: Path, result: Path) -> None:
    command = [sys.executable, "-m", "streamer", "run", str(clip), "--to", str(result)]
    done = subprocess.run(
        [*command, "--fps", "x2", "--between", "interpolate", "--crf", CRF],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise ConfigError(f"the streamer could not double the shots and said: {said[-1]}")


def _lumas(path: Path) -> list[tuple[Fraction, Plane]]:
    """Every picture's luma with its time, from 0."""
    found: list[tuple[Fraction, Plane]] = []
    with av.open(str(path)) as container:
        for picture in container.decode(video=0):
            assert picture.pts is not None
            assert picture.time_base is not None
            luma = np.asarray(picture.to_ndarray(format="gray8"), dtype=np.uint8)
            shrunk = cv2.resize(luma, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            small = np.asarray(shrunk, dtype=np.uint8)
            found.append((picture.pts * picture.time_base, small))
    found.sort(key=lambda one: one[0])
    first_s = found[0][0] if found else Fraction(0)
    assert all(one[0] < other[0] for one, other in pairwise(found))
    return [(at_s - first_s, luma) for at_s, luma in found]
