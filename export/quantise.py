"""From a shipped fp32 model to its int8 variants for CPUs and TensorRT, calibrated on real frames."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.data.clips import find_data
from export.data.planes import Planes, crop
from export.half import half_specs
from export.model_file import held_out_names, move_to, variant_of, with_quality
from export.motion_quantise import calibration_feeds, motion_losses_db
from export.operators import check_operators
from export.quantise_tensorrt import SYMMETRIC, TENSORRT, Precision, with_float16_ends
from export.run_quantise import run_feeds, run_losses_db
from export.runner import Feed, model_residual
from export.upscalers import pack_planes, residual_upscaler
from export.validation import SHRINKING, Sample, held_out_samples, mean_psnr, seen_conditions
from streamer.errors import ConfigError
from streamer.infer.backends import MADE
from streamer.model import RESIDUAL_ZERO, ModelManifest

ALLOWED_LOSS_DB = 0.15
"""More than this against fp32, on any condition, and the variant is not written."""

PERCENTILE = 99.9999
"""Of the activations that the 256 steps must hold: nearly all of them. At 99.99 the sharpest edges
are cut by up to 52 code values, here by 30; the loss on held-out clips is the same."""

EVERY_CLIP = 4
CALIBRATION_FRAME = 4
JUDGED_FRAMES = (3, 10)


def quantise(
    manifest: ModelManifest,
    data: Path,
    *,
    report: Callable[[str], None],
    precision: Precision = "int8",
) -> Path:
    """Writes ``<name>-<precision>.onnx`` and ``.json`` beside the model; the manifest's path.

    QDQ with one scale per output channel. ``int8``: unsigned activations and signed weights, which
    is what ONNX Runtime and OpenVINO run fastest on x86 with VNNI. ``SYMMETRIC``: what TensorRT
    takes; see ``quantise_tensorrt``. Raises ``ConfigError`` when the variant loses more than
    ``ALLOWED_LOSS_DB``, and for a motion network in ``SYMMETRIC``; nothing is written then.
    """
    if manifest.precision != "fp32":
        raise ConfigError(f"{manifest.name} is {manifest.precision}; quantise its fp32 model")
    is_motion, is_symmetric = manifest.task in MADE, precision == SYMMETRIC
    if is_symmetric and manifest.task != "super_resolution":
        raise ConfigError(
            f"{manifest.name} is for {manifest.task}; only networks for super_resolution are made "
            f"in {SYMMETRIC}: leave it in fp32 or fp16 for TensorRT"
        )
    manifest.verified_bytes()
    split = find_data(data, validation=held_out_names(manifest))
    prepare, judge = TASKS[manifest.task]
    feeds = prepare(manifest, split.training[::EVERY_CLIP])
    if not feeds:
        raise ConfigError(
            f"no training clip in {data} has {CALIBRATION_FRAME + 1} frames; put longer ones there"
        )
    report(f"calibrating on {len(feeds)} frames")
    with tempfile.TemporaryDirectory() as folder:
        blob = _quantised(manifest, feeds, Path(folder), precision=precision)
        inputs, outputs = manifest.inputs, manifest.outputs
        if is_symmetric:
            inputs, outputs = half_specs(inputs), half_specs(outputs)
        elif not is_motion:
            outputs = tuple(replace(spec, dtype="uint8") for spec in outputs)
        variant = variant_of(
            manifest,
            blob,
            precision=precision,
            inputs=inputs,
            outputs=outputs,
            folder=Path(folder),
        )
        losses = judge(manifest, variant, split.validation)
        for condition, loss_db in losses.items():
            report(f"{condition}: {loss_db:+.3f} dB lost against fp32")
        _refuse_large(losses, file=variant.file)
        quality = {"lost_against_fp32_db": {name: round(loss, 3) for name, loss in losses.items()}}
        return move_to(with_quality(variant, quality), manifest.folder)


def _feeds(manifest: ModelManifest, clips: Sequence[Path]) -> list[Feed]:
    frames = _samples(manifest, clips, frames=(CALIBRATION_FRAME,))
    pictures = _alike([sample.small for samples in frames.values() for sample in samples])
    return [{"packed": pack_planes(picture)} for picture in pictures]


def _samples(
    manifest: ModelManifest, clips: Sequence[Path], *, frames: Sequence[int]
) -> dict[str, list[Sample]]:
    return held_out_samples(
        clips,
        scale=manifest.scale,
        conditions=seen_conditions(manifest.training, scale=manifest.scale),
        frames=frames,
        kernel=SHRINKING.get(manifest.training, "area"),
    )


def _alike(pictures: Sequence[Planes]) -> list[Planes]:
    """The pictures cut to one size, which the calibration needs."""
    height = min((picture.height for picture in pictures), default=0)
    width = min((picture.width for picture in pictures), default=0)
    return [crop(picture, top=0, left=0, height=height, width=width) for picture in pictures]


def _refuse_large(losses: Mapping[str, float], *, file: str) -> None:
    worst = max(losses, key=lambda name: losses[name])
    if losses[worst] > ALLOWED_LOSS_DB:
        raise ConfigError(
            f"{file} loses {losses[worst]:.2f} dB against fp32 ({worst}), allowed are "
            f"{ALLOWED_LOSS_DB}; calibrate on other frames or ship fp32 alone"
        )


class _Frames(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def _quantised(
    manifest: ModelManifest, feeds: list[Feed], folder: Path, *, precision: Precision
) -> bytes:
    prepared, quantised = folder / "prepared.onnx", folder / "quantised.onnx"
    is_motion, is_symmetric = manifest.task in MADE, precision == SYMMETRIC
    method = CalibrationMethod.MinMax if is_motion else CalibrationMethod.Percentile
    # It advises what is done here already, and prints what it counts.
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            # Free sizes that are multiples of four are more than it can follow.
            quant_pre_process(str(manifest.path), str(prepared), skip_symbolic_shape=is_motion)
            quantize_static(
                str(prepared),
                str(quantised),
                _Frames(feeds),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                calibrate_method=method,
                extra_options={"CalibPercentile": PERCENTILE, **(TENSORRT if is_symmetric else {})},
                # Of a network for motion nothing but convolutions: the rest are pictures and places.
                op_types_to_quantize=["Conv"] if is_motion or is_symmetric else None,
                nodes_to_exclude=_kept_float(prepared),
                activation_type=QuantType.QInt8 if is_symmetric else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
    finally:
        logging.disable(logging.NOTSET)
    model = onnx.load(str(quantised))
    # The tools note every operator set they know; the graph uses one.
    used = [entry for entry in model.opset_import if entry.domain in {"", "ai.onnx"}]
    del model.opset_import[:]
    model.opset_import.extend(used)
    if is_symmetric:
        blob = with_float16_ends(model)
    else:
        blob = model.SerializeToString() if is_motion else _with_whole_code_values(model)
    file = f"{manifest.name}-{precision}.onnx"
    check_operators(onnx.load_from_string(blob), file=file, is_for_cpu=not is_symmetric)
    return blob


def _kept_float(path: Path) -> list[str]:
    """What reads the input, and what bounds the residual.

    256 steps over luma and chroma would not meet the input's codes: of the first convolution, and
    of what repeats the edges before it in networks that see contrast. A quantised Clip is taken
    away, as the calibrated range bounds as well; the whole code values do not keep that range.
    """
    graph = onnx.load(str(path)).graph
    taken = {value.name for value in graph.input}
    edged = [node for node in graph.node if node.op_type == "Pad" and node.input[0] in taken]
    taken |= {node.output[0] for node in edged}
    first = [node for node in graph.node if node.op_type == "Conv" and node.input[0] in taken]
    bounds = [node for node in graph.node if node.op_type == "Clip"]
    return [node.name for node in (*edged, *first, *bounds)]


def _with_whole_code_values(model: Any) -> bytes:
    """The model without its last DequantizeLinear: it gives uint8 code values plus 128.

    With a step of one code value nothing is lost, since base and sum are whole numbers too, and
    the caller moves a quarter of the bytes. A Clip at the end bounds those values.
    """
    graph = model.graph
    last = _maker_of(graph.output[0].name, graph)
    bound = None
    if last.op_type == "Clip":
        bound, last = last, _maker_of(last.input[0], graph)
    quantise_last = _maker_of(last.input[0], graph)
    if (last.op_type, quantise_last.op_type) != ("DequantizeLinear", "QuantizeLinear"):
        raise ConfigError(
            f"the quantised graph ends in {quantise_last.op_type}, {last.op_type} and not in "
            "QuantizeLinear, DequantizeLinear; use the onnxruntime that pyproject.toml names"
        )
    step = numpy_helper.from_array(np.array(1, np.float32), "residual_step")
    zero = numpy_helper.from_array(np.array(RESIDUAL_ZERO, np.uint8), "residual_zero")
    graph.initializer.extend([step, zero])
    former = {*quantise_last.input[1:], *last.input[1:]}
    if bound is not None:
        former |= set(bound.input[1:])
        _bound_whole(bound, graph)
    kept = [tensor for tensor in graph.initializer if tensor.name not in former]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del quantise_last.input[1:]
    quantise_last.input.extend([step.name, zero.name])
    quantise_last.output[0] = last.output[0]
    graph.node.remove(last)
    graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.checker.check_model(model)
    blob: bytes = model.SerializeToString()
    return blob


def _maker_of(name: str, graph: Any) -> Any:
    return next(node for node in graph.node if list(node.output) == [name])


def _bound_whole(clip: Any, graph: Any) -> None:
    """Bounds of a residual in code values as those of uint8 code values plus 128, rounded inwards.

    The Clip behind the rounding lets convolution and rounding be one step in ONNX Runtime.
    """
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    lowest, highest = (RESIDUAL_ZERO + np.trunc(stored[name]) for name in clip.input[1:])
    for name, value in (("residual_lowest", lowest), ("residual_highest", highest)):
        graph.initializer.append(numpy_helper.from_array(value.clip(0, 255).astype(np.uint8), name))
    del clip.input[1:]
    clip.input.extend(["residual_lowest", "residual_highest"])


def _losses_db(
    reference: ModelManifest, variant: ModelManifest, clips: Sequence[Path]
) -> dict[str, float]:
    scale = reference.scale
    judged = _samples(reference, clips, frames=JUDGED_FRAMES)

    def quality(manifest: ModelManifest) -> dict[str, float]:
        upscaler = residual_upscaler(model_residual(manifest), scale=scale)
        return {name: mean_psnr(group, upscaler, scale=scale) for name, group in judged.items()}

    before, after = quality(reference), quality(variant)
    return {name: before[name] - after[name] for name in before}


Prepare = Callable[[ModelManifest, Sequence[Path]], list[Feed]]
Judge = Callable[[ModelManifest, ModelManifest, Sequence[Path]], dict[str, float]]

TASKS: Mapping[str, tuple[Prepare, Judge]] = {
    "super_resolution": (_feeds, _losses_db),
    "interpolation": (calibration_feeds, motion_losses_db),
    "prediction": (calibration_feeds, motion_losses_db),
    "denoising": (run_feeds, run_losses_db),
    "steadying": (run_feeds, run_losses_db),
}
"""What each task's networks are calibrated on, and what a variant loses against fp32."""
