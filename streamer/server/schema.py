"""What the HTTP API takes and gives, as types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from streamer.server.handle import State


class _Answer(BaseModel):
    """Numbers are added over time, so that a client must expect more than is listed."""

    model_config = ConfigDict(extra="allow")


class _Request(BaseModel):
    """What is not known is refused: a key that is misspelt would do nothing otherwise."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Timing(_Answer):
    """A named sample in milliseconds; ``n`` counts all of it, the rest is of the last seconds."""

    n: int
    p50: float
    p95: float
    p99: float
    max: float


class Rates(_Answer):
    """Frames per second over the last two seconds."""

    in_: float = Field(0.0, alias="in")
    out: float = 0.0


class SourceNumbers(_Answer):
    """What came in."""

    codec: str = ""
    width: int = 0
    height: int = 0
    fps: float | None = None


class OutputNumbers(_Answer):
    """What goes out; without a size until the first frame."""

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    sample_aspect: float | None = None
    bitrate_kbps: float = 0


class FrameNumbers(_Answer):
    """Frames since the stream was opened."""

    decoded: int = 0
    interpolated: int = 0
    predicted: int = 0
    repeated: int = 0
    sent: int = 0
    left_out: int = 0
    cleaned: int = 0
    """Whose noise was taken away."""
    concealed: dict[str, int] = {}
    dropped: dict[str, int] = {}


class Engine(_Answer):
    """A network, and what runs it."""

    model: str
    backend: str
    precision: str
    device: str


class StepTaken(_Answer):
    """From one rung of the quality ladder to another, for all frames from then on."""

    ago_s: float
    from_: str = Field(alias="from")
    to: str
    reason: str


class Statistics(_Answer):
    """All numbers of a stream; those of its picture are missing while it does not run."""

    name: str = ""
    state: State | None = None
    reason: str = ""
    """Why it does not run, one sentence."""
    notice: str = ""
    """What runs otherwise than asked for, as on the CPU instead of a GPU, one sentence."""
    restarts: int = 0
    from_: str = Field("", alias="from")
    """Where the picture comes from, without what may be secret."""
    to: list[str] = []
    scale: int | None = None
    budget_ms: float | None = None
    source: SourceNumbers | None = None
    output: OutputNumbers | None = None
    fps: Rates | None = None
    frames: FrameNumbers | None = None
    latency_ms: dict[str, Timing] = {}
    tier: str = ""
    tiers: dict[str, int] = {}
    steps: list[StepTaken] = []
    """The newest first."""
    stepped: dict[str, int] = {}
    """All steps so far by reason, those of single frames among them."""
    prediction_gain_db: float | None = None
    engines: list[Engine] = []
    audio: dict[str, Any] | None = None
    viewers: int = 0
    webrtc: list[dict[str, Any]] = []
    uptime_s: float | None = None


class Entry(BaseModel):
    """A stream in the list: enough to show it, and where the rest is."""

    name: str
    state: State
    reason: str
    source: str = Field(description="Where the picture comes from, without what may be secret.")
    outputs: list[str]
    width: int | None = Field(description="Of the picture that goes out.")
    height: int | None
    fps_in: float | None
    fps_out: float | None
    latency_p95_ms: float | None
    tier: str
    viewers: int
    has_audio: bool
    still: str | None = Field(description="GET it for a small picture of now.")
    statistics: str = Field(description="GET it for all numbers.")
    whep: str | None = Field(description="POST an offer there to watch; null where it cannot be.")
    hls: str | None = Field(description="The playlist for players; null without an HLS output.")


class StreamList(BaseModel):
    """All streams of the process."""

    streams: list[Entry]
    can_add: bool = Field(description="Whether streams can be added, changed and removed here.")


class Health(BaseModel):
    """That the process lives, and how its streams are."""

    status: Literal["ok"]
    streams: dict[str, State]


BUDGET = "allowed milliseconds from arrival to the outputs"
BITRATE = "average and ceiling of the encoder; by default from size and rate"


Word = Annotated[str, Field(max_length=64)]

FPS = "frames per second that leave: a number, or x2 to x8; by default as they come"
BETWEEN = "where a higher rate gets its frames from: between two real ones, or ahead of the last"


class NewStream(_Request):
    """A stream to add: the keys of the settings file, and its name."""

    name: Annotated[str, Field(min_length=1, max_length=64, examples=["door"])]
    source: Annotated[str, Field(max_length=2048, examples=["rtsp://192.0.2.7/stream1"])]
    to: Annotated[list[Annotated[str, Field(max_length=2048)]], Field(max_length=16)] = ["webrtc:"]
    scale: Annotated[int | None, Field(description="lines out per line in: 1, 2, 3 or 4")] = None
    budget_ms: Annotated[float | None, Field(description=BUDGET)] = None
    backend: Annotated[
        Word | None, Field(description="what runs the networks: auto, ort-cpu …")
    ] = None
    tier: Annotated[
        Word | None, Field(description="a network by name: nano, lite …; plain for none at all")
    ] = None
    fps: Annotated[Word | int | float | None, Field(description=FPS, examples=["x2"])] = None
    between: Annotated[
        Literal["interpolate", "predict", "none"] | None, Field(description=BETWEEN)
    ] = None
    conceal: Annotated[
        bool | None, Field(description="whether frames stand in for those that were lost")
    ] = None
    denoise: Annotated[
        Literal["auto", "on", "off"] | None, Field(description="whether noise is taken away")
    ] = None
    steady: Annotated[
        bool | None, Field(description="whether pictures are made with the help of the one before")
    ] = None
    sharpen: Annotated[
        float | None, Field(description="how far finished pictures are sharpened, 0 to 1")
    ] = None
    bitrate_kbps: Annotated[int | None, Field(description=BITRATE)] = None
    preset: Annotated[Word | None, Field(description="libx264's, ultrafast to slow")] = None


def _without_null(schema: dict[str, Any]) -> None:
    """``None`` stands for a key that is left out; nobody sends it."""
    for one in schema["properties"].values():
        one.pop("default")
        one.update(one.pop("anyOf")[0])


class ChangedStream(_Request):
    """What to change; what is not given stays as it is. Null takes nothing back and is refused."""

    model_config = ConfigDict(json_schema_extra=_without_null)

    budget_ms: Annotated[float | None, Field(description=BUDGET)] = None
    bitrate_kbps: Annotated[int | None, Field(description=BITRATE)] = None
    tier: Annotated[Word | None, Field(description="the best tier that may be taken")] = None

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_null(cls, value: Any) -> Any:
        if value is None:
            raise PydanticCustomError(
                "null", "null takes nothing back, send the value it is to have or leave the key out"
            )
        return value


class Report(_Answer):
    """The whole run, as ``--report`` writes it."""

    frames: FrameNumbers
    latency_ms: dict[str, Timing]
    tiers: dict[str, int]
    engines: list[Engine]
