"""Everything that takes the enhanced stream, opened from what the settings list."""

from __future__ import annotations

import logging
from collections.abc import Collection, MutableMapping
from fractions import Fraction
from functools import partial

from streamer.clock import Clock
from streamer.config import LIVE_KINDS, SinkSpec, StreamSettings, source_kind
from streamer.encode import Encoder, live_bitrate_bps
from streamer.errors import ConfigError, SinkError
from streamer.frame import Frame, Planes
from streamer.media import AudioInfo
from streamer.metrics import Metrics
from streamer.rate import HIGHEST_FPS
from streamer.rendition import Rendition
from streamer.rtc.session import Session, View
from streamer.sinks.audio_format import codec_of
from streamer.sinks.audio_transcode import AUDIO_REFUSED, AudioTranscoder, Target
from streamer.sinks.base import Sink
from streamer.sinks.fanout import FanOut
from streamer.sinks.file import FileSink
from streamer.sinks.hls import HlsSink
from streamer.sinks.late_sound import LateSound
from streamer.sinks.network import NetworkSink
from streamer.sinks.null import NullSink
from streamer.sinks.raw import RawOutputs, Y4mSink
from streamer.sinks.recoded import RecodedSink
from streamer.sinks.rtsp_mount import RtspMount
from streamer.sinks.rtsp_tracks import SERVED_AUDIO
from streamer.sinks.webrtc import WebRtcSink
from streamer.sources.base import Source

_log = logging.getLogger(__name__)


class Outlets:
    """The renditions of one stream and the sinks that take pictures; nothing is written yet."""

    def __init__(
        self,
        settings: StreamSettings,
        *,
        source: Source,
        clock: Clock,
        metrics: Metrics,
        mounts: MutableMapping[str, RtspMount] | None = None,
    ) -> None:
        """Raises ``SinkError`` or ``ConfigError`` for an output that can never work."""
        self._settings = settings
        self._video, self._audio = source.video, source.audio
        self.fps = fps_out(settings, source.video.fps)
        """Frames per second that leave; ``None`` where the source's are not known."""
        self._clock = clock
        self._metrics = metrics
        self._refused = partial(metrics.count, AUDIO_REFUSED)
        self._mounts = mounts if mounts is not None else {}
        self._served: RtspMount | None = None
        watched = any(spec.kind == "webrtc" for spec in settings.sinks)
        coded = [spec for spec in settings.sinks if spec.kind not in ("webrtc", "y4m")]
        self._is_live = source_kind(settings.source) in LIVE_KINDS
        self._check_raw()
        raw = [
            # What a camera showed cannot be had again.
            Y4mSink(spec.target, fps=self.fps, is_live=self._is_live)
            for spec in settings.sinks
            if spec.kind == "y4m"
        ]
        are_alone = not (coded or watched)
        # From file to file nothing is lost. Live, a reader that takes nothing must not keep the stream
        # from its end, even where it holds up no other output.
        lost = None if settings.is_offline else self._lost_by
        self.raw = RawOutputs(raw, are_alone=are_alone, lost=lost)
        """Take pictures instead of packets."""
        self.enhanced = (
            self._rendition("enhanced", coded, is_watchable=watched) if coded or watched else None
        )
        """``None`` where every output takes pictures."""
        self.comparison = self._rendition("compare", [], is_watchable=True) if watched else None
        # Last: nobody takes out the mount of a stream that could not be made.
        if self._served is not None:
            self._mounts[settings.name] = self._served

    @property
    def renditions(self) -> tuple[Rendition, ...]:
        return tuple(filter(None, (self.enhanced, self.comparison)))

    @property
    def is_compared(self) -> bool:
        """Whether anybody watches the comparison."""
        return self.comparison is not None and self.comparison.is_watched

    def wanted(self, frame: Frame) -> list[tuple[Rendition, Planes]]:
        """What is encoded now: the comparison while it is watched, and the enhanced picture
        unless the comparison is all that anybody looks at."""
        wanted = []
        enhanced, comparison = self.enhanced, self.comparison
        compared = frame.comparison if self.is_compared else None
        if enhanced is not None and (
            compared is None or enhanced.is_watched or not enhanced.is_for_viewers_only
        ):
            wanted.append((enhanced, frame.planes))
        if comparison is not None and compared is not None:
            wanted.append((comparison, compared))
        return wanted

    @property
    def webrtc(self) -> tuple[WebRtcSink, ...]:
        """The sinks that viewers join."""
        return tuple(r.webrtc for r in self.renditions if r.webrtc is not None)

    async def answer(self, offer_sdp: str, *, view: View) -> Session:
        """Begin a WebRTC viewer's session.

        Raises ``OfferRefused``, or ``SinkError`` where there is no such output.
        """
        rendition = self.comparison if view == "compare" else self.enhanced
        if rendition is None or rendition.webrtc is None:
            name = self._settings.name
            raise SinkError(f"the stream {name} has no WebRTC output; start it with webrtc:")
        return await rendition.webrtc.answer(offer_sdp)

    async def hang_up(self, session_id: str) -> bool:
        """End a viewer's session; false if there is none of that name."""
        for webrtc in self.webrtc:
            if await webrtc.hang_up(session_id):
                return True
        return False

    def set_bitrate(self, kbps: int) -> None:
        """Of every rendition, from its next frame on."""
        for rendition in self.renditions:
            rendition.encoder.set_bitrate(kbps)
            if rendition.webrtc is not None:
                rendition.webrtc.set_max_bitrate(kbps * 1000)

    def _check_raw(self) -> None:
        """Raises ``ConfigError`` where a file of pictures would play too fast."""
        raw = [spec.target for spec in self._settings.sinks if spec.kind == "y4m"]
        is_raised = self.fps is None or self.fps > (self._video.fps or 0)
        foresees = self._settings.rate is not None and self._settings.between == "predict"
        if raw and self._settings.is_offline and foresees and is_raised:
            raise ConfigError(
                f"y4m:{raw[0]} has one rate and no times, and --between predict makes no frame where it "
                "foresees nothing; use --between interpolate, or write .mkv"
            )

    def _lost_by(self, label: str) -> None:
        self._metrics.count(f"dropped.sink.{label}")

    def forget(self) -> None:
        """The stream has ended: players find it no more."""
        self._mounts.pop(self._settings.name, None)

    def _rendition(self, name: str, specs: list[SinkSpec], *, is_watchable: bool) -> Rendition:
        encoder = Encoder(
            "encode" if name == "enhanced" else "encode_compare",
            self._settings.encode,
            fps=self.fps,
            is_live=not self._settings.is_offline,
            clock=self._clock,
            metrics=self._metrics,
        )
        sinks = [(spec.label, self._sink(spec, encoder)) for spec in specs]
        webrtc = None
        if is_watchable:
            others = any(spec.kind != "null" for spec in specs)
            webrtc, sink = self._webrtc_sink(name, encoder, shares_encoder=others)
            sinks.append(("webrtc", sink))
        fanout = FanOut(
            sinks,
            may_drop=not self._settings.is_offline,
            request_keyframe=encoder.request_keyframe,
        )
        return Rendition(
            name=name,
            encoder=encoder,
            fanout=fanout,
            webrtc=webrtc,
            is_for_viewers_only=not specs,
        )

    def _webrtc_sink(
        self, name: str, encoder: Encoder, *, shares_encoder: bool
    ) -> tuple[WebRtcSink, Sink]:
        """The sink that viewers join, and what packets for it go through."""
        video, scale = self._video, self._settings.scale
        height = video.height * scale * (1 if name == "enhanced" else 2)
        audio, transcoder = self._sound("webrtc", "opus", as_is=("opus",))
        webrtc = WebRtcSink(
            name,
            request_keyframe=encoder.request_keyframe,
            set_target_bitrate=encoder.set_target_bitrate,
            audio=audio,
            clock=self._clock,
            ice_servers=self._settings.ice_servers,
            shares_encoder=shares_encoder,
            max_bitrate_bps=live_bitrate_bps(
                self._settings.encode, video.width * scale, height, self.fps
            ),
        )
        if transcoder is None:
            return webrtc, webrtc
        return webrtc, RecodedSink(webrtc, transcoder, is_wanted=lambda: webrtc.viewers > 0)

    def _sound(
        self, label: str, target: Target, *, as_is: Collection[str]
    ) -> tuple[AudioInfo | None, AudioTranscoder | None]:
        """The sound as a sink on RTP gets it, and what makes it so; no sound where nothing can.

        Codecs named in ``as_is`` stay what they are, but for Opus of more channels than RFC 7587 has
        a place for: its packets are several in one, noise to who expects one.
        """
        if self._audio is None:
            return None, None
        codec = codec_of(self._audio)
        if codec in as_is and (codec != "opus" or self._audio.channels <= 2):
            return self._audio, None
        try:
            transcoder = AudioTranscoder(self._audio, target, refused=self._refused)
        except SinkError as error:
            _log.warning("%s has no sound: %s", label, error)
            return None, None
        return transcoder.audio, transcoder

    def _sink(self, spec: SinkSpec, encoder: Encoder) -> Sink:
        if spec.kind == "rtsp":
            return self._mount(encoder)
        if spec.kind == "null":
            return NullSink()
        if spec.kind == "hls":
            return self._hls(spec, encoder)
        make = partial(self._container, spec, encoder)
        if self._audio is None or not self._is_live:
            return make(self._audio)
        return LateSound(spec.label, make, self._audio, request_keyframe=encoder.request_keyframe)

    def _container(self, spec: SinkSpec, encoder: Encoder, audio: AudioInfo | None) -> Sink:
        if spec.kind == "file":
            return FileSink(
                spec.target,
                audio=audio,
                fps=self.fps,
                is_live=self._is_live,
                refused=self._refused,
            )
        return NetworkSink(
            spec.target,
            audio=audio,
            clock=self._clock,
            metrics=self._metrics,
            request_keyframe=encoder.request_keyframe,
            label=spec.label,
            reach=self._settings.reach,
        )

    def _hls(self, spec: SinkSpec, encoder: Encoder) -> Sink:
        return HlsSink(
            spec.target,
            audio=self._audio,
            clock=self._clock,
            metrics=self._metrics,
            request_keyframe=encoder.request_keyframe,
            label=spec.label,
            waits_for_sound=self._is_live,
        )

    def _mount(self, encoder: Encoder) -> Sink:
        audio, transcoder = self._sound("rtsp:", "aac", as_is=SERVED_AUDIO)
        mount = RtspMount(
            self._settings.name,
            audio=audio,
            request_keyframe=encoder.request_keyframe,
            clock=self._clock,
        )
        self._served = mount
        if transcoder is None:
            return mount
        return RecodedSink(mount, transcoder, is_wanted=lambda: mount.clients > 0)


def fps_out(settings: StreamSettings, source_fps: Fraction | None) -> Fraction | None:
    """Frames per second that are to leave; ``None`` where that depends on a source's unknown rate."""
    rate = settings.rate
    if rate is None:
        return source_fps
    if settings.between == "none":
        # It can only be lowered.
        return min(filter(None, (source_fps, rate.fps)), default=None)
    if rate.fps is not None:
        return rate.fps
    assert rate.times is not None
    if source_fps is None:
        return None
    return source_fps * max(1, min(rate.times, HIGHEST_FPS // source_fps))
