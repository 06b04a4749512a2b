"""GStreamer's RTSP server over pictures from standard input; run it with the system's Python.

It imports nothing of the project, since that Python has GStreamer's bindings and not our packages.
Standard input is what ``camera.py`` writes. On standard output it tells, as JSON lines, its port
and when each picture's last RTP packet left the payloader: the share of the latency that is spent
before the network. With ``--loss`` packets are lost behind that, in bursts that a seed decides.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import struct
import sys
import threading
import time
from collections import deque
from typing import Any

HEAD = struct.Struct("<QII")
PATH = "/camera"
_BATCH_NS = 500_000_000
_MARKER = 0x80

# One picture is more than the 200 kB that appsrc would hold by itself.
_LAUNCH = (
    "( appsrc name=camera is-live=true format=time do-timestamp=true block=false "
    "max-buffers=2 max-bytes=0 leaky-type=downstream "
    "caps=video/x-raw,format=I420,width={width},height={height},framerate={fps},"
    "interlace-mode=progressive,pixel-aspect-ratio=1/1 "
    # One thread and no lookahead: a picture is coded when the next one is not yet there.
    "! x264enc name=encoder tune=zerolatency speed-preset=ultrafast threads=1 bitrate={kbps} "
    "key-int-max={gop} byte-stream=true aud=false "
    "! video/x-h264,profile=constrained-baseline "
    "! rtph264pay name=pay0 pt=96 config-interval=-1 aggregate-mode=zero-latency )"
)


class Bursts:
    """Gilbert 1960: a chain of two states, of which the bad one loses every packet."""

    def __init__(self, *, share: float, mean_packets: float, seed: int) -> None:
        """Of all packets ``share`` is lost in the long run, ``mean_packets`` in a row on average."""
        self._leave = 1 / mean_packets
        self._enter = self._leave * share / (1 - share)
        self._random = random.Random(seed)
        self._is_bad = False

    def loses_next(self) -> bool:
        """The fate of the next packet; the same seed gives the same ones."""
        chance = self._leave if self._is_bad else self._enter
        self._is_bad = self._is_bad != (self._random.random() < chance)
        return self._is_bad


class Camera:
    """Takes pictures from standard input to whoever plays; drops them while nobody does."""

    def __init__(self, gst: Any, picture_bytes: int, bursts: Bursts | None = None) -> None:
        self._gst = gst
        self._bursts = bursts
        self._packets = {"sent": 0, "lost": 0}
        self._headless: list[int] = []
        """Pictures whose first packet was lost; of one slice, nobody can decode what is left."""
        self._is_first = True
        self._picture_bytes = picture_bytes
        self._source: Any = None
        self._entered: deque[tuple[int, int]] = deque()
        """Number and counter of the pictures between the entry and the payloader."""
        self._pushed: deque[tuple[int, int]] = deque(maxlen=64)
        self._rows: list[tuple[int, int, int]] = []
        self._told_ns = 0
        self.has_begun = threading.Event()

    def attach(self, media: Any) -> None:
        """Feed this pipeline from now on."""
        pad_probe = self._gst.PadProbeType
        source = media.get_element().get_by_name("camera")
        payloader = media.get_element().get_by_name("pay0")
        self._entered.clear()
        self._pushed.clear()
        source.get_static_pad("src").add_probe(pad_probe.BUFFER, self._on_entered)
        payloader.get_static_pad("src").add_probe(
            pad_probe.BUFFER | pad_probe.BUFFER_LIST, self._on_packet
        )
        self._source = source

    def detach(self, media: Any) -> None:
        """Nobody plays this one any more; another one may play already."""
        if media.get_element().get_by_name("camera") is self._source:
            self._source = None

    def read(self) -> None:
        """Until the writer ends; runs on a thread of its own."""
        pipe = sys.stdin.buffer
        while True:
            head = pipe.read(HEAD.size)
            data = pipe.read(self._picture_bytes)
            if len(head) < HEAD.size or len(data) < self._picture_bytes:
                return
            drawn_ns, number, _ = HEAD.unpack(head)
            self.has_begun.set()
            source = self._source
            if source is not None:
                buffer = self._gst.Buffer.new_wrapped(data)
                # Its number rides along, so that one dropped by the entry is not mistaken.
                buffer.offset = number
                self._pushed.append((number, drawn_ns // 1_000_000 & 0xFFFFFFFF))
                source.emit("push-buffer", buffer)

    def _on_entered(self, pad: Any, info: Any) -> Any:
        number = info.get_buffer().offset
        self._entered.extend(one for one in list(self._pushed) if one[0] == number)
        return self._gst.PadProbeReturn.OK

    def _on_packet(self, pad: Any, info: Any) -> Any:
        """Without lookahead pictures leave in the order they entered, one for one."""
        returned = self._gst.PadProbeReturn
        if info.type & self._gst.PadProbeType.BUFFER_LIST:
            packets = info.get_buffer_list()
            if self._bursts is not None:
                # One after the other, so that single ones can be lost; each comes here again.
                for index in range(packets.length()):
                    pad.push(packets.get(index))
                return returned.DROP
            last = packets.get(packets.length() - 1)
        else:
            last = info.get_buffer()
        number = self._entered[0][0] if self._entered else None
        is_last = bool(last.extract_dup(1, 1)[0] & _MARKER)
        if number is not None and is_last:
            self._left(time.monotonic_ns())
        if self._bursts is None:
            return returned.OK
        is_lost = self._bursts.loses_next()
        self._packets["lost" if is_lost else "sent"] += 1
        if is_lost and self._is_first and number is not None:
            self._headless.append(number)
        self._is_first = is_last
        return returned.DROP if is_lost else returned.OK

    def _left(self, now_ns: int) -> None:
        number, counter_ms = self._entered.popleft()
        self._rows.append((number, counter_ms, now_ns))
        if now_ns - self._told_ns > _BATCH_NS:
            tell(seen=self._rows)
            self._rows, self._told_ns = [], now_ns
            if self._bursts is not None:
                tell(event="packets", **self._packets, headless=self._headless)


def tell(**message: Any) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--fps", default="30/1")
    parser.add_argument("--gop", type=int, default=30)
    parser.add_argument("--kbps", type=int, default=2000)
    parser.add_argument("--loss", type=float, default=0.0, help="share of the RTP packets")
    parser.add_argument(
        "--burst", type=float, default=4.0, help="packets lost in a row, on average"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the losses")
    parser.add_argument("--check", action="store_true", help="only tell the versions")
    options = parser.parse_args()
    gi = importlib.import_module("gi")
    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    gst: Any = importlib.import_module("gi.repository.Gst")
    rtsp: Any = importlib.import_module("gi.repository.GstRtspServer")
    glib: Any = importlib.import_module("gi.repository.GLib")
    gst.init(None)
    for element in ("appsrc", "x264enc", "rtph264pay"):
        if gst.ElementFactory.find(element) is None:
            sys.exit(f"GStreamer has no element {element}")
    if options.check:
        tell(event="versions", gstreamer=gst.version_string())
        return

    bursts = None
    if options.loss:
        bursts = Bursts(share=options.loss, mean_packets=options.burst, seed=options.seed)
    camera = Camera(gst, options.width * options.height * 3 // 2, bursts)
    server = rtsp.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(str(options.port))
    factory = rtsp.RTSPMediaFactory.new()
    factory.set_launch(
        _LAUNCH.format(
            width=options.width,
            height=options.height,
            fps=options.fps,
            gop=options.gop,
            kbps=options.kbps,
        )
    )
    factory.set_shared(True)

    def on_media(_: Any, media: Any) -> None:
        media.connect("unprepared", camera.detach)
        # What a camera sends is sent at once.
        media.set_rate_control(False)
        camera.attach(media)

    factory.connect("media-configure", on_media)
    server.get_mount_points().add_factory(PATH, factory)
    loop = glib.MainLoop()

    def read() -> None:
        camera.read()
        loop.quit()

    threading.Thread(target=read, daemon=True).start()
    # Its viewers are let in only once there is something to see.
    camera.has_begun.wait()
    if not server.attach(None):
        sys.exit(f"the RTSP server cannot listen on port {options.port}")
    tell(event="ready", port=server.get_bound_port(), path=PATH, at_ns=time.monotonic_ns())
    loop.run()


if __name__ == "__main__":
    main()
