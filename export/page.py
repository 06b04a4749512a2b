"""The page about the shipped models, written from their manifests: ``MODELS.md``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from export.page_sections import (
    FOR_COMPARISON,
    LABELS,
    PURPOSES,
    SECTIONS,
    TRAININGS,
    Section,
)
from export.published import BICUBIC_DB, SOURCE, Published
from streamer.errors import ConfigError
from streamer.model import ModelManifest, read_manifest

PICTURES = "docs/models"
PICTURE_SHOTS = ("street", "atlas", "meadow")

DECIBELS = "dB, luma PSNR"

CHANGED = "uncompressed, the most changed clip: code values, not dB"

HEAD = """\
# Models

Written from the manifests in `streamer/models` by `make models-page`; edit those or `export/page.py`,
not this page.

Each network ships as ONNX (opset 18) in up to four precisions: fp32, from which the others are made;
int8, which processors run fastest; fp16 in and out, typed, for GPUs; int8-symmetric, for TensorRT where
`--backend tensorrt-int8` asks for it. A cost in MAC is per pixel of the *input* picture. Numbers are
those of the fp32 file unless a row names another. `python -m export verify MODEL` compares all files of
a network with torch.
"""


def page(folder: Path) -> str:
    """The page for the manifests in ``folder``; raises when one is not a manifest, or when the model
    that it describes, or was made from, is missing."""
    manifests = [read_manifest(path) for path in sorted(folder.glob("*.json"))]
    _refuse_missing(manifests)
    parts = [HEAD]
    for section in SECTIONS:
        own = [manifest for manifest in manifests if manifest.task == section.task]
        if own:
            parts.append(_section(section, own))
    return "\n".join(parts)


def _refuse_missing(manifests: Sequence[ModelManifest]) -> None:
    names = {manifest.name for manifest in manifests}
    for manifest in manifests:
        if not manifest.path.is_file():
            raise ConfigError(
                f"{manifest.file} is missing beside {manifest.name}.json; put it there, or remove that"
            )
        if manifest.origin is not None and manifest.origin.name not in names:
            raise ConfigError(
                f"{manifest.name}.json was made from {manifest.origin.name}, whose manifest is missing "
                f"beside it; export that anew, or remove {manifest.name}.json"
            )


def _section(section: Section, manifests: Sequence[ModelManifest]) -> str:
    parts = [f"## {section.title}\n\n{section.text}\n"]
    keys = sorted({(m.scale, m.training) for m in manifests}, key=lambda key: (key[0], key[1]))
    for scale, training in keys:
        group = [m for m in manifests if (m.scale, m.training) == (scale, training)]
        enlarging = f"x{scale}, " if section.task == "super_resolution" else ""
        parts.append(f"### {enlarging}{training}: {TRAININGS.get(training, 'see its recipe')}\n")
        parts.append(_group(section, group))
    return "\n".join(parts)


def _group(section: Section, group: Sequence[ModelManifest]) -> str:
    bases = sorted((m for m in group if m.origin is None), key=lambda m: m.macs_per_pixel)
    parts = [_costs(section, bases), _files(bases, group), _quality(section, bases)]
    if section.published:
        parts.append(_beside_published(section.published, bases))
    if section.has_pictures:
        parts.append(_pictures(bases[0]))
    parts.append(_training(bases))
    return "\n".join(part for part in parts if part)


def _costs(section: Section, bases: Sequence[ModelManifest]) -> str:
    rows = [
        (
            f"`{m.variant}`",
            section.purpose or _purpose(m),
            f"{m.parameters:,}",
            f"{m.macs_per_pixel:,}",
        )
        for m in bases
    ]
    return _table(("network", "for", "parameters", "MAC per input pixel"), rows)


def _purpose(manifest: ModelManifest) -> str:
    return FOR_COMPARISON if manifest.training == "clean" else PURPOSES.get(manifest.variant, "")


def _files(bases: Sequence[ModelManifest], group: Sequence[ModelManifest]) -> str:
    rows = []
    for base in bases:
        own = [m for m in group if m is base or (m.origin and m.origin.name == base.name)]
        for m in sorted(own, key=lambda m: (m is not base, m.precision)):
            size_kb = m.path.stat().st_size / 1000
            rows.append((f"`{m.file}`", m.precision, f"{size_kb:.0f}", _lost(m, base), _cost(m)))
    heads = ("file", "precision", "kB", "dB lost against fp32", "ms")
    # A column in which nothing stands says nothing.
    columns = len(heads) if any(m.quality.get("cost") for m in group) else len(heads) - 1
    return _table(heads[:columns], [row[:columns] for row in rows])


def _cost(manifest: ModelManifest) -> str:
    cost = manifest.quality.get("cost")
    if not cost:
        return "not measured"
    return (
        f"{cost['p50_ms']} at {cost['picture']} ({cost['threads']} threads, {cost['processor']}, "
        f"{cost['runtime']})"
    )


def _lost(manifest: ModelManifest, base: ModelManifest) -> str:
    """The largest loss over everything both were measured on."""
    if manifest is base:
        return "0"
    own, theirs = _measured(manifest), _measured(base)
    losses = [theirs[key]["model"] - own[key]["model"] for key in own if key in theirs]
    return f"at most {max(losses):.3f}" if losses else "not measured"


Measured = dict[tuple[str, str], Mapping[str, float]]


def _measured(manifest: ModelManifest) -> Measured:
    """By test set and condition, dB of the model and of its baselines."""
    return {
        (name, condition): values
        for name, table in manifest.quality.items()
        if isinstance(table, Mapping)
        for condition, values in table.items()
        if isinstance(values, Mapping) and "model" in values
    }


def _quality(section: Section, bases: Sequence[ModelManifest]) -> str:
    measured = [_measured(base) for base in bases]
    every = list(dict.fromkeys(key for table in measured for key in table))
    rows = []
    known = {key for table in measured for values in table.values() for key in values}
    named = [baseline for baseline in section.baselines if baseline in known]
    for name, condition in section.rows or every:
        tables = [table.get((name, condition), {}) for table in measured]
        if not any(tables):
            continue
        baselines = [_first(tables, baseline) for baseline in named]
        values = [*baselines, *(table.get("model") for table in tables)]
        rows.append((f"{_label(name)}, {_label(condition)}", *_best_in_bold(values)))
    if not rows:
        return ""
    if any(changed := [_changed(base) for base in bases]):
        rows.append((CHANGED, *("–" for _ in named), *changed))
    names = [*map(_label, named), *(f"`{base.variant}`" for base in bases)]
    methods = dict.fromkeys(str(base.quality.get("method", "")) for base in bases)
    return _table((DECIBELS, *names), rows) + "\n" + "\n".join(m for m in methods if m) + "\n"


def _changed(manifest: ModelManifest) -> str:
    changed = manifest.quality.get("undamaged_changed_codes")
    return f"{max(changed.values()):.2f}" if changed else ""


def _first(tables: Iterable[Mapping[str, float]], key: str) -> float | None:
    return next((table[key] for table in tables if key in table), None)


def _best_in_bold(values: Sequence[float | None]) -> list[str]:
    best = max(round(value, 2) for value in values if value is not None)
    texts = ["–" if value is None else f"{value:.2f}" for value in values]
    return [
        f"**{text}**" if value is not None and round(value, 2) == best else text
        for value, text in zip(values, texts, strict=True)
    ]


def _beside_published(published: Sequence[Published], bases: Sequence[ModelManifest]) -> str:
    scale = bases[0].scale
    sets = ("set5", "set14", "bsd100")
    named = [entry for entry in published if entry.scale == scale]
    if not named:
        return ""
    rows: list[tuple[int, tuple[str, ...]]] = []
    for entry in named:
        plain = BICUBIC_DB[scale]
        cells = [_gain(entry.psnr_db.get(name), plain.get(name)) for name in sets]
        size = "–" if entry.parameters_k is None else f"{entry.parameters_k * 1000:,.0f}"
        rows.append((entry.macs_per_pixel, (entry.name, f"{entry.macs_per_pixel:,}", size, *cells)))
    for base in bases:
        measured = _measured(base)
        tables = [measured.get((name, "bicubic_clean"), {}) for name in sets]
        cells = [_gain(table.get("model"), table.get("bicubic")) for table in tables]
        row = (f"**{base.name}**", f"{base.macs_per_pixel:,}", f"{base.parameters:,}", *cells)
        rows.append((base.macs_per_pixel, row))
    heads = ("network", "MAC per input pixel", "parameters", *map(_label, sets))
    return (
        f"Beside published networks, cheapest first: {DECIBELS}, in brackets how far over bicubic. "
        f"Theirs are from {SOURCE}: uncompressed RGB pictures, shrunk by MATLAB's bicubic kernel. "
        "Ours are 4:2:0 in limited range, rounded to 8 bits, where bicubic itself measures "
        "differently: compare the brackets.\n\n"
        + _table(heads, [row for _, row in sorted(rows, key=lambda entry: entry[0])])
    )


def _gain(value: float | None, plain: float | None) -> str:
    if value is None or plain is None:
        return "–"
    return f"{value:.2f} ({value - plain:+.2f})"


def picture_name(manifest: ModelManifest, shot: str) -> str:
    """The file of a group's comparison picture: one for all networks of a scale and training."""
    if manifest.task != "super_resolution":
        return f"{manifest.name}-{shot}.jpg"
    return f"sr-x{manifest.scale}-{manifest.training}-{shot}.jpg"


def _pictures(base: ModelManifest) -> str:
    if base.task == "denoising":
        return _shown(
            base,
            "Crops of the project's own drawn scene with noise of 6 code values, coded as MJPEG; the "
            "numbers are luma PSNR of the whole frame, the tenth of a run. No network was trained on it.",
            "as it arrives, cleaned, original",
        )
    if base.task == "steadying":
        return _shown(
            base,
            "Crops of the project's own drawn scene, shrunk, coded with H.264 crf 28, enlarged by `lite`; "
            "the numbers are luma PSNR of the whole frame, the tenth of a run. No network was trained on it.",
            "enlarged, and steadied, original",
        )
    if base.task != "super_resolution":
        return _shown(
            base,
            "Crops of the project's own drawn scene where the network changes most, made of frames that "
            "are two apart; the numbers are luma PSNR of the whole frame. No network was trained on it.",
            "without a network, with it, original",
        )
    arrives = "coded with H.264 crf 28, " if base.training == "live" else ""
    undone = f"shrunk, {arrives}and enlarged again" if base.scale > 1 else arrives.rstrip(", ")
    head = (
        f"Crops of the project's own drawn scene, {undone}; the numbers "
        "are luma PSNR of the whole frame. No network was trained on it."
    )
    plain = "upscales" if base.scale > 1 else "as it arrives"
    return _shown(base, head, f"{plain}, networks, original")


def _shown(base: ModelManifest, head: str, tiles: str) -> str:
    places = {shot: f"{PICTURES}/{picture_name(base, shot)}" for shot in PICTURE_SHOTS}
    shown = [f"![{shot}: {tiles}]({place})" for shot, place in places.items()]
    return "\n\n".join([head, *shown]) + "\n"


def _training(bases: Sequence[ModelManifest]) -> str:
    lines = ["Trained as follows.\n"]
    lines += [f"- `{base.variant}`: {_iterations(base)}" for base in bases]
    lines.append("")
    for data in {str(base.data): base for base in bases}.values():
        names = ", ".join(f"`{b.variant}`" for b in bases if b.data == data.data)
        if data.data:
            lines.append(_licences(data, names=names))
    return "\n".join(lines)


def _iterations(base: ModelManifest) -> str:
    history = base.quality.get("training") or {}
    runs = [*(run["iterations"] for run in history.get("earlier", [])), history.get("iterations")]
    known = [run for run in runs if run is not None]
    recipe = base.recipe
    settings = recipe.get("train", {})
    batch, patch = settings.get("batch"), settings.get("crop", recipe.get("data", {}).get("patch"))
    text = f"{sum(known):,} iterations" if known else "iterations not recorded"
    if batch and patch:
        text += f" of {batch} patches of {patch}x{patch}"
    if len(known) > 1:
        steps = " + ".join(f"{run:,}" for run in known)
        text += f" ({steps}, each run from the weights of the one before)"
    if history.get("commit"):
        text += f", by commit {history['commit']}"
    return f"{text}; recipe `{base.recipe.get('name', base.name)}`."


def _licences(manifest: ModelManifest, *, names: str) -> str:
    files: Counter[str] = Counter()
    sources: dict[str, dict[str, None]] = {}
    unknown = 0
    for entry in manifest.data:
        licence = short_licence(entry["licence"])
        files[licence] += len(entry["files"])
        sources.setdefault(licence, {})[entry["source"]] = None
        unknown += len(entry["files"]) if "origin not stated" in entry["licence"] else 0
    rows = [(name, str(count), ", ".join(sources[name])) for name, count in files.most_common()]
    rest = (
        f"\nFor {unknown} of these files the repository has a licence but does not say where the "
        "footage is from.\n"
        if unknown
        else ""
    )
    head = (
        f"Training material of {names}: {files.total()} clips and pictures; the manifest names "
        "each one.\n\n"
    )
    return head + _table(("licence as stated", "files", "from"), rows) + rest


def short_licence(stated: str) -> str:
    """A licence without the remarks behind it."""
    for sign in (" (repo", ";", " per "):
        stated = stated.partition(sign)[0]
    return stated.strip()


def _label(key: str) -> str:
    return LABELS.get(key, key.replace("_", " "))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
