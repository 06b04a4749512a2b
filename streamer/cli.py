"""The command line."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import sys
from collections.abc import Coroutine
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from streamer.config import (
    HTTP_PORT,
    RTSP_PORT,
    SINK_HELP,
    SOURCE_HELP,
    EncodeSettings,
    SinkSpec,
    StreamSettings,
    check_crf,
    of_tier,
    parse_made_frames,
    parse_sink,
    redacted,
)
from streamer.errors import ConfigError, StreamerError, deliberate
from streamer.heap import share_arenas
from streamer.timers import fine_loop

app = typer.Typer(
    name="streamer",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
engines = typer.Typer(help="Engines for the GPU of this machine.")
app.add_typer(engines, name="engines")

DEMO_SOURCE = "synthetic:640x360@30"

Scale = Annotated[int, typer.Option(help="Lines out per line in: 1, 2, 3 or 4.")]
Budget = Annotated[float, typer.Option(help="Allowed milliseconds from arrival to the outputs.")]
Backend = Annotated[
    str,
    typer.Option(
        help="What runs the networks: auto, native, ort-cpu, openvino, ort-cuda, tensorrt, "
        "tensorrt-int8, reference."
    ),
]
TierName = Annotated[
    str | None, typer.Option("--tier", help="A network by name, or plain for none at all.")
]
Fps = Annotated[
    str | None, typer.Option(help="Frames per second out: a number, or x2 to x8 of the source's.")
]
BetweenHow = Annotated[
    str | None,
    typer.Option(
        "--between", help="Where more frames come from: interpolate (waits), predict, none."
    ),
]
Conceal = Annotated[
    bool, typer.Option("--conceal/--no-conceal", help="Make up for frames that a live source lost.")
]
Denoise = Annotated[
    str, typer.Option("--denoise", help="Take noise away: auto (while there is any), on, off.")
]
Steady = Annotated[
    bool | None,
    typer.Option(
        "--steady/--no-steady",
        help="Make enlarged pictures with the help of the one before, as is done from file to file; live it "
        "takes three times what the lite network does.",
    ),
]
Sharpen = Annotated[
    float,
    typer.Option(
        help="Sharpen finished pictures, 0 (off) to 1: 0.5 gives undamaged ones the originals' "
        "gradient and takes 1.1 dB, of coded ones 0.2 to 0.4."
    ),
]
Duration = Annotated[float | None, typer.Option(help="Stop after so many seconds.")]
Report = Annotated[Path | None, typer.Option(help="Write the run's numbers to this JSON file.")]
Host = Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine only.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")]
RtspPort = Annotated[int, typer.Option(min=0, max=65535, help="Port that rtsp: is served on.")]
Bitrate = Annotated[int | None, typer.Option("--bitrate-kbps", help="Encoder's bitrate.")]
Crf = Annotated[
    int | None,
    typer.Option(help="Quality from file to file, 0 (lossless) to 51 (worst); 18 where left out."),
]
Preset = Annotated[str | None, typer.Option(help="libx264 preset, ultrafast to slow.")]


def _say_version(*, is_asked: bool) -> None:
    if is_asked:
        try:
            typer.echo(f"streamer {metadata.version('streamer')}")
        except metadata.PackageNotFoundError:
            typer.echo("streamer, from a folder that is not installed")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say which one this is."
        ),
    ] = False,
) -> None:
    """Real-time streaming video enhancer."""


@app.command()
def demo(
    source: Annotated[str, typer.Option(help=f"What to show: {SOURCE_HELP}")] = DEMO_SOURCE,
    scale: Scale = 2,
    budget_ms: Budget = 80.0,
    backend: Backend = "auto",
    tier: TierName = None,
    fps: Fps = None,
    between: BetweenHow = None,
    conceal: Conceal = True,
    # A drawn scene has no noise; its texture, which moves everywhere, would be taken for some.
    denoise: Denoise = "off",
    steady: Steady = None,
    sharpen: Sharpen = 0.0,
    duration: Duration = None,
    report: Report = None,
    host: Host = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help=f"Port of the page; {HTTP_PORT} or a free one."),
    ] = None,
) -> None:
    """A drawn camera, enhanced, on a page: before and after."""
    settings = _settings(
        source=source,
        sinks=(SinkSpec(kind="webrtc"),),
        name="demo",
        scale=scale,
        budget_ms=budget_ms,
        backend=backend,
        tier=tier,
        fps=fps,
        between=between,
        conceals=conceal,
        denoise=denoise,
        steady=steady,
        sharpen=sharpen,
        duration_s=duration,
    )
    from streamer.running import run_stream

    _finish(run_stream(settings, host=host, port=port, report=report))


@app.command()
def run(
    source: Annotated[str, typer.Argument(help=SOURCE_HELP)],
    to: Annotated[list[str] | None, typer.Option(help=SINK_HELP)] = None,
    scale: Scale = 2,
    budget_ms: Budget = 80.0,
    backend: Backend = "auto",
    tier: TierName = None,
    fps: Fps = None,
    between: BetweenHow = None,
    conceal: Conceal = True,
    denoise: Denoise = "auto",
    steady: Steady = None,
    sharpen: Sharpen = 0.0,
    duration: Duration = None,
    report: Report = None,
    host: Host = "127.0.0.1",
    port: Port = HTTP_PORT,
    bitrate_kbps: Bitrate = None,
    crf: Crf = None,
    preset: Preset = None,
    rtsp_port: RtspPort = RTSP_PORT,
) -> None:
    """Enhance one stream: SOURCE in, every --to out."""
    quality = {} if crf is None else {"crf": crf}
    settings = _settings(
        source=source,
        sinks=tuple(parse_sink(text) for text in to or ()),
        scale=scale,
        budget_ms=budget_ms,
        backend=backend,
        tier=tier,
        fps=fps,
        between=between,
        conceals=conceal,
        denoise=denoise,
        steady=steady,
        sharpen=sharpen,
        duration_s=duration,
        encode=EncodeSettings(bitrate_kbps=bitrate_kbps, preset=preset, **quality),
    )
    check_crf(crf, settings)
    from streamer.running import run_stream

    _finish(run_stream(settings, host=host, port=port, rtsp_port=rtsp_port, report=report))


@app.command()
def serve(
    config: Annotated[Path, typer.Argument(help="A YAML file of streams.")],
    host: Annotated[
        str | None, typer.Option(help="Address to listen on, before the file's.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of page and API; 0 takes a free one.")
    ] = None,
) -> None:
    """Many streams from a file: page, API, WHIP, RTSP, metrics."""
    from streamer.serving import serve as serving

    _finish(serving(config, host=host, port=port))


@app.command()
def probe(
    source: Annotated[str, typer.Argument(help=SOURCE_HELP)],
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """What comes in, and which tiers this machine holds for it."""
    from streamer.probe import as_text, probe_source

    found = asyncio.run(probe_source(source))
    typer.echo(json.dumps(found, indent=2) if as_json else as_text(found))


@app.command()
def describe(
    context: typer.Context,
    config: Annotated[Path | None, typer.Argument(help="A YAML file of streams.")] = None,
    scale: Scale = 2,
    budget_ms: Budget = 80.0,
    backend: Backend = "auto",
    tier: TierName = None,
    fps: Fps = None,
    between: BetweenHow = None,
) -> None:
    """The chain, its engines and its budget, without running it."""
    from streamer.describe import describe_stream
    from streamer.settings_file import read_settings

    if config is not None:
        _refuse_options(context, config)
        streams = read_settings(config)
    else:
        one = _settings(
            source=DEMO_SOURCE,
            sinks=(SinkSpec(kind="webrtc"),),
            name="demo",
            scale=scale,
            budget_ms=budget_ms,
            backend=backend,
            tier=tier,
            fps=fps,
            between=between,
        )
        streams = (one,)
    typer.echo("\n\n".join(describe_stream(settings) for settings in streams))


@engines.command()
def build(
    size: Annotated[list[str], typer.Option(help="A picture that comes in, as 1280x720.")],
    scale: Scale = 2,
    tier: Annotated[str | None, typer.Option(help="One network by name, not all.")] = None,
    streams: Annotated[
        int, typer.Option(min=1, help="How many of that size will run side by side.")
    ] = 1,
    optimisation_level: Annotated[
        int, typer.Option(min=0, max=5, help="How widely to search.")
    ] = 3,
) -> None:
    """Build TensorRT engines now, so that no stream waits for them."""
    from streamer.clock import MonotonicClock
    from streamer.infer.prebuild import build_engines, buildable
    from streamer.infer.sizes import parse_picture
    from streamer.infer.tensorrt_build import BuildSettings

    build_engines(
        buildable(scale=scale, variant=tier),
        [parse_picture(text) for text in size],
        settings=BuildSettings(optimisation_level=optimisation_level),
        clock=MonotonicClock(),
        report=typer.echo,
        streams=streams,
    )


def main() -> None:
    """Run the command; deliberate errors become one sentence and exit code 2."""
    # Threads of a stream take turns thousands of times a second; with Python's 5 ms between them a
    # made frame took 31 to 42 ms, so it is 24.
    sys.setswitchinterval(0.0005)
    share_arenas()
    logging.basicConfig(level=logging.WARNING, format="streamer: %(message)s", stream=sys.stderr)
    # That a source is waited for, came or was lost is news for whoever watches the terminal.
    logging.getLogger("streamer.sources").setLevel(logging.INFO)
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="streamer", standalone_mode=False)
    except typer.TyperException as error:
        _fail(f"{_sentence(error.format_message())}; run: streamer --help")
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        _fail(f"the answer could not be written ({error.strerror}); free some space")
    except (StreamerError, BaseExceptionGroup) as error:
        found = list(deliberate(error))
        if not found:
            raise
        _fail(str(found[0]))
    sys.exit(code if isinstance(code, int) else 0)


def _settings(
    *, tier: str | None, fps: str | None, between: str | None, **others: Any
) -> StreamSettings:
    rate, how = parse_made_frames(fps, between)
    tiers = of_tier(tier, backend=others["backend"])
    return StreamSettings(**{**others, "rate": rate, "between": how, **tiers})


def _refuse_options(context: typer.Context, config: Path) -> None:
    """Raise ``ConfigError`` for options that would do nothing next to a settings file."""
    sources = (
        (one, context.get_parameter_source(one.name or "")) for one in context.command.params
    )
    # By its name: the type is from a part of typer that is nobody else's.
    typed = [one for one, source in sources if source is not None and source.name == "COMMANDLINE"]
    given = [one.opts[0] for one in typed if one.name != "config"]
    if given:
        raise ConfigError(
            f"{config} says {', '.join(given)} of each stream; leave the options out, or the file"
        )


def _finish(running: Coroutine[Any, Any, int]) -> None:
    with asyncio.Runner(loop_factory=fine_loop) as runner:
        code = runner.run(running)
    if code:
        raise typer.Exit(code)


def _fail(message: str) -> None:
    typer.echo(f"streamer: {_in_one_line(redacted(message))}", err=True)
    sys.exit(2)


def _in_one_line(text: str) -> str:
    """With line breaks and what moves a terminal's cursor spelled out: a name may hold any of it."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _sentence(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
