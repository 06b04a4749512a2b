"""The command line of the offline side: ``python -m export train|onnx|quantise|…``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from export.recipe import find_recipe
from streamer.clock import MonotonicClock
from streamer.errors import ConfigError, StreamerError
from streamer.model import MODELS, ModelManifest, read_manifest

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache"
WEIGHTS = HERE / "weights"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 2 with one sentence on stderr."""
    options = _parser().parse_args(arguments)
    try:
        COMMANDS[options.command](options)
    except StreamerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the last checkpoint is kept", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser(
        "train", help="train the network of a recipe; continues its checkpoint if there is one"
    )
    _add_recipe(train)
    train.add_argument("--data", type=Path, required=True, help="holds train_video, train_images")
    train.add_argument("--cache", type=Path, default=CACHE, help="where patches are kept")
    train.add_argument(
        "--start-from",
        type=Path,
        help="a checkpoint of the same network, or its shipped weights in export/weights",
    )
    train.add_argument("--threads", type=positive, default=2)
    train.add_argument("--device", default="cpu", help="auto, cpu or cuda")

    onnx = commands.add_parser("onnx", help="export a checkpoint as a model with its manifest")
    _add_recipe(onnx)
    onnx.add_argument("--data", type=Path, required=True, help="to name the training files")
    _add_places(onnx)

    small = commands.add_parser("quantise", help="make an int8 variant of a shipped fp32 model")
    small.add_argument("model", help="a model's name, such as sr-lite-x2-live")
    small.add_argument("--data", type=Path, required=True, help="holds train_video")
    small.add_argument(
        "--precision",
        choices=("int8", "int8-symmetric"),
        default="int8",
        help="int8 for processors, int8-symmetric for TensorRT",
    )
    _add_places(small)

    half = commands.add_parser("half", help="make the typed fp16 variant of a shipped fp32 model")
    half.add_argument("model", help="a model's name, such as sr-lite-x2-live")
    _add_places(half)

    engines = commands.add_parser(
        "tensorrt", help="build a model's engines for the GPU of this machine"
    )
    engines.add_argument("model", help="a model's name, such as sr-lite-x2-live-fp16")
    engines.add_argument("--size", action="append", required=True, help="a picture's, as 1280x720")
    engines.add_argument(
        "--optimisation-level", type=int, default=3, help="0 to 5, how widely to search"
    )
    engines.add_argument("--models", type=Path, default=MODELS)

    check = commands.add_parser(
        "verify", help="compare a shipped network in all its precisions with torch"
    )
    check.add_argument("model", help="a model's name, such as sr-lite-x2-live")
    check.add_argument("--data", type=Path, help="holds train_video; drawn frames without it")
    _add_places(check)

    measure = commands.add_parser("evaluate", help="measure a shipped model, fill its manifest")
    measure.add_argument("model", help="a model's name, such as sr-lite-x2-live")
    measure.add_argument("--data", type=Path, required=True, help="holds train_video, tests")
    measure.add_argument(
        "--cost", action="store_true", help="also time it here; wait until the machine is idle"
    )
    measure.add_argument("--pictures", type=Path, help="write before/after/original PNGs here")
    _add_places(measure)

    expected = commands.add_parser(
        "self-test", help="put what engines are tested against at run time into the manifests"
    )
    expected.add_argument("--models", type=Path, default=MODELS)

    page = commands.add_parser("page", help="write MODELS.md from the manifests of shipped models")
    page.add_argument("--models", type=Path, default=MODELS)
    page.add_argument("--out", type=Path, default=HERE.parent / "MODELS.md")
    page.add_argument(
        "--pictures",
        action="store_true",
        help="also draw those of networks that changed, beside it",
    )
    return parser


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a name such as sr_lite_x2_live, or a TOML file")
    parser.add_argument("--work", type=Path, default=CACHE / "runs", help="holds the checkpoint")


def positive(text: str) -> int:
    """A whole number of at least 1, as an option's type."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)


def _manifest(options: argparse.Namespace) -> ModelManifest:
    return read_manifest(options.models / f"{options.model}.json")


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ConfigError(f"{path} is not a folder; --data names one with train_video in it")
    return path


def _print(line: str) -> None:
    print(line, flush=True)


# torch takes seconds to import; a wrong argument should not wait for it.
def _train(options: argparse.Namespace) -> None:
    recipe, data = find_recipe(options.recipe), _folder(options.data)
    import torch

    from export.train import Place, train

    torch.set_num_threads(options.threads)
    place = Place(
        data=data,
        cache=options.cache,
        work=options.work,
        start_from=options.start_from,
        device=options.device,
    )
    train(recipe, place, clock=MonotonicClock(), report=_print)


def _onnx(options: argparse.Namespace) -> None:
    recipe, data = find_recipe(options.recipe), _folder(options.data)
    from export.to_onnx import load_averaged, training_files, write_model

    network, history = load_averaged(options.work, recipe)
    manifest = write_model(
        network,
        recipe,
        folder=options.models,
        weights=options.weights,
        data=training_files(data, recipe),
        history=history,
    )
    _print(
        f"wrote {manifest.path}: {history['iterations']} iterations, {manifest.parameters} parameters, "
        f"{manifest.macs_per_pixel} MAC per input pixel"
    )


def _quantise(options: argparse.Namespace) -> None:
    manifest, data = _manifest(options), _folder(options.data)
    from export.quantise import quantise

    path = quantise(manifest, data, report=_print, precision=options.precision)
    _print(f"wrote {path}")


def _half(options: argparse.Namespace) -> None:
    manifest = _manifest(options)
    from export.half import make_half

    _print(f"wrote {make_half(manifest, options.weights, report=_print)}")


def _tensorrt(options: argparse.Namespace) -> None:
    from export.to_tensorrt import to_tensorrt

    level = options.optimisation_level
    to_tensorrt(_manifest(options), options.size, optimisation_level=level, report=_print)


def _verify(options: argparse.Namespace) -> None:
    manifest = _manifest(options)
    data = None if options.data is None else _folder(options.data)
    from export.verify import check, verify

    rows = verify(manifest, options.weights, data=data)
    for row in rows:
        _print(str(row))
    check(rows)


def _evaluate(options: argparse.Namespace) -> None:
    manifest, data = _manifest(options), _folder(options.data)
    from export.evaluate import evaluate, evaluate_cost
    from export.pictures import write_comparisons

    if options.cost:
        manifest = evaluate_cost(manifest, clock=MonotonicClock(), report=_print)
    path = evaluate(manifest, data, report=_print)
    _print(f"wrote {path}")
    if options.pictures:
        for picture in write_comparisons(manifest, data, options.pictures):
            _print(f"wrote {picture}")


def _self_test(options: argparse.Namespace) -> None:
    from export.expected import write_expected

    write_expected(options.models, report=_print)


def _page(options: argparse.Namespace) -> None:
    from export.model_file import replace_file
    from export.page import PICTURES, page

    _print(f"wrote {replace_file(options.out, page(options.models).encode())}")
    if options.pictures:
        from export.demo_pictures import write_demo_pictures

        write_demo_pictures(options.models, options.out.parent / PICTURES, report=_print)


COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "train": _train,
    "onnx": _onnx,
    "quantise": _quantise,
    "half": _half,
    "tensorrt": _tensorrt,
    "verify": _verify,
    "evaluate": _evaluate,
    "self-test": _self_test,
    "page": _page,
}
