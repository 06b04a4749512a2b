"""What the page about the shipped models says of each task, and what it calls things."""

from __future__ import annotations

from dataclasses import dataclass

from export.published import SUPER_RESOLUTION, Published

PURPOSES = {
    "nano": "the last network before the plain upscale, for slow or busy machines",
    "lite": "real time on two CPU cores at 640x360",
    "medium": "machines with time for four times what `lite` takes, and files",
    "full": "a GPU, files, and processors with time for eight times what `lite` takes",
}
FOR_COMPARISON = "comparison with published networks; streams do not use it"
"""What a network is for that was trained on undamaged pictures, beside those for streams."""

TRAININGS = {
    "live": "pictures that came through a codec",
    "clean": "uncompressed or barely compressed pictures",
}
LABELS = {
    "held_out_clips": "held-out clips",
    "set5": "Set5",
    "set14": "Set14",
    "bsd100": "BSD100",
    "clean": "uncompressed",
    "x264_crf23": "H.264 crf 23",
    "x264_crf28": "H.264 crf 28",
    "x264_crf33": "H.264 crf 33",
    "bicubic_clean": "bicubic kernel",
    "bicubic_x264_crf28": "bicubic kernel, H.264 crf 28",
    "lanczos": "Lanczos",
    "motion": "without a network",
    "input": "as it arrives",
    "vid4": "Vid4",
    "enlarged": "then enlarged by `lite` x2",
    "enlarged_plain": "then enlarged by bicubic x2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What the page says about one task; a task gets its own section by a line in ``SECTIONS``."""

    task: str
    title: str
    text: str
    baselines: tuple[str, ...]
    """Keys beside ``model`` in the tables of ``quality``, in the order of the columns; those that
    nothing in a group was measured beside are left out."""
    rows: tuple[tuple[str, str], ...] = ()
    """Test set and condition of each row; empty takes all there are."""
    has_pictures: bool = False
    published: tuple[Published, ...] = ()
    purpose: str = ""
    """What its networks are for; empty says it of each variant."""


SECTIONS = (
    Section(
        task="denoising",
        title="Denoising",
        text=(
            "A stack of 3x3 convolutions at half resolution that sees the picture and by how much the last "
            "cleaned one, brought along the motion, differs from it; it says for each value which share of "
            "that difference is taken, and what is added. What it gives is what the next picture is "
            "compared with, so noise goes on falling where things can be followed. It "
            "comes before any enlargement. `--denoise auto` uses it while a stream is noisy."
        ),
        baselines=("input",),
        has_pictures=True,
        purpose="noisy cameras, on two CPU cores at 640x360, before the network that enlarges",
    ),
    Section(
        task="super_resolution",
        title="Super-resolution",
        text=(
            "A stack of 3x3 convolutions at half resolution, YUV 4:2:0 in and out. It gives a "
            "residual over the plain bicubic upscale, so that is what it must beat; at x1 the picture as it "
            "arrives."
        ),
        baselines=("input", "bicubic", "lanczos"),
        rows=(
            ("held_out_clips", "clean"),
            ("held_out_clips", "x264_crf23"),
            ("held_out_clips", "x264_crf28"),
            ("held_out_clips", "x264_crf33"),
            ("set5", "bicubic_clean"),
            ("set5", "bicubic_x264_crf28"),
            ("set14", "bicubic_clean"),
            ("set14", "bicubic_x264_crf28"),
            ("bsd100", "bicubic_clean"),
            ("bsd100", "bicubic_x264_crf28"),
            ("set5", "x264_crf23"),
            ("set5", "x264_crf28"),
            ("set5", "x264_crf33"),
            ("set14", "x264_crf23"),
            ("set14", "x264_crf28"),
            ("set14", "x264_crf33"),
            ("bsd100", "x264_crf23"),
            ("bsd100", "x264_crf28"),
            ("bsd100", "x264_crf33"),
        ),
        has_pictures=True,
        published=SUPER_RESOLUTION,
    ),
    Section(
        task="steadying",
        title="Steadying",
        text=(
            "A network as for denoising, behind the one that enlarges: it sees the enlarged picture and by "
            "how much the last one that it made, brought along the motion, differs from it, and says for "
            "each value which share of that difference is taken, and what is added. So what earlier "
            "pictures showed of a thing stays in the next ones. `--steady` uses it."
        ),
        baselines=("input",),
        rows=(
            ("held_out_clips", "clean"),
            ("held_out_clips", "x264_crf23"),
            ("held_out_clips", "x264_crf28"),
            ("held_out_clips", "x264_crf33"),
        ),
        has_pictures=True,
        purpose="pictures that were enlarged, on two CPU cores where there is time for it",
    ),
    Section(
        task="interpolation",
        title="Frame interpolation",
        text=(
            "The frame at any time between two that are there. Motion is found and pictures are "
            "warped without a network, which corrects in between: whose motion holds in a place, "
            "how much of either picture, how soft. So frames made without it are what it must beat."
        ),
        baselines=("repetition", "motion"),
        has_pictures=True,
        purpose="files; between two frames of a live stream the next one would wait for it",
    ),
    Section(
        task="prediction",
        title="Next-frame prediction",
        text=(
            "The frame after the last one that is there. The same network and host code as for "
            "interpolation, with the wanted time beyond the second picture."
        ),
        baselines=("repetition", "motion"),
        has_pictures=True,
        purpose="wherever it is done before the next frame of the stream comes",
    ),
)
