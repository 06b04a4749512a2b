"""A GStreamer RTSP server for tests; run it with the system's Python, which has ``gi``.

Prints its URL, without a password, on standard output and serves until it is killed. With
``--stdin`` the pictures are I420 frames of ``--size`` from standard input, each encoded at once and
stamped with the time of its arrival; what comes while nobody watches is dropped.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import argparse
import os
import sys
import threading
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer

ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate={kbps} key-int-max={gop} "
    "{more} ! video/x-h264,profile={profile} ! rtph264pay name=pay0 pt=96 config-interval={config}",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast bitrate={kbps} key-int-max={gop} "
    "option-string=repeat-headers=1:log-level=none ! h265parse ! "
    "rtph265pay name=pay0 pt=96 config-interval={config}",
    "mjpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26",
    "vp8": "vp8enc deadline=1 keyframe-max-dist={gop} ! rtpvp8pay name=pay0 pt=96",
}
SOUNDS = {
    "alaw": "audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8",
    "ulaw": "audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay1 pt=0",
    "aac": "audio/x-raw,rate=48000,channels=2 ! voaacenc bitrate=64000 ! "
    "rtpmp4gpay name=pay1 pt=97",
    "opus": "audio/x-raw,rate=48000,channels=2 ! opusenc ! rtpopuspay name=pay1 pt=98",
}


def main() -> None:
    options = _options()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(options.address)
    server.set_service(options.port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {_picture(options)} {_sound(options)} )")
    factory.set_shared(True)
    factory.set_latency(0)
    if options.avpf:
        factory.set_profiles(GstRtsp.RTSPProfile.AVPF)
    if options.transport != "any":
        lower = GstRtsp.RTSPLowerTrans
        factory.set_protocols(lower.TCP if options.transport == "tcp" else lower.UDP)
    feed = _Feed(options)
    factory.connect("media-configure", lambda _factory, media: feed.begin(media))
    if options.user or options.certificate:
        server.set_auth(_auth(options, factory))
    server.get_mount_points().add_factory(f"/{options.path}", factory)
    if server.attach(None) == 0:
        sys.exit("no free port")
    scheme = "rtsps" if options.certificate else "rtsp"
    host = f"[{options.address}]" if ":" in options.address else options.address
    sys.stdout.write(f"{scheme}://{host}:{server.get_bound_port()}/{options.path}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codec", choices=ENCODERS, default="h264")
    parser.add_argument("--audio", choices=["none", *SOUNDS], default="none")
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--then-size", help="change to this size after --change-after seconds")
    parser.add_argument("--change-after", type=float, default=1.0)
    parser.add_argument("--fps", default="30", help="a number, or a fraction such as 30000/1001")
    parser.add_argument("--gop", type=int, default=30)
    parser.add_argument("--kbps", type=int, default=1000)
    parser.add_argument("--b-frames", type=int, default=0)
    parser.add_argument("--config-interval", type=int, default=1)
    parser.add_argument("--transport", choices=["any", "tcp", "udp"], default="any")
    parser.add_argument("--avpf", action="store_true", help="take feedback, such as PLI")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", default="0")
    parser.add_argument("--path", default="live")
    parser.add_argument("--auth", choices=["basic", "digest"], default="digest")
    parser.add_argument("--user", default="")
    parser.add_argument("--password-variable", default="RTSP_PASSWORD", help="where it is read")
    parser.add_argument("--certificate", help="PEM with certificate and key: serve TLS")
    parser.add_argument("--stdin", action="store_true", help="I420 frames from standard input")
    return parser.parse_args()


def _picture(options: argparse.Namespace) -> str:
    width, height = options.size.split("x")
    rate = options.fps if "/" in options.fps else f"{options.fps}/1"
    raw = f"video/x-raw,format=I420,framerate={rate},width={width},height={height}"
    if options.stdin:
        first = f"appsrc name=feed is-live=true do-timestamp=true format=time caps={raw}"
    else:
        first = f"videotestsrc is-live=true pattern=ball ! capsfilter name=size caps={raw}"
    more = f"bframes={options.b_frames} b-adapt=false" if options.b_frames else "bframes=0"
    encoder = ENCODERS[options.codec].format(
        kbps=options.kbps,
        gop=options.gop,
        config=options.config_interval,
        more=more,
        profile="main" if options.b_frames else "constrained-baseline",
    )
    if options.b_frames:
        encoder = encoder.replace("tune=zerolatency ", "rc-lookahead=0 sync-lookahead=0 ")
    return f"{first} ! {encoder}"


def _sound(options: argparse.Namespace) -> str:
    if options.audio == "none":
        return ""
    return f"audiotestsrc is-live=true ! {SOUNDS[options.audio]}"


class _Feed:
    """What happens inside the pipeline while it plays: frames from outside, another size."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._source: Any = None
        if options.stdin:
            threading.Thread(target=self._pump, daemon=True).start()

    def begin(self, media: Any) -> None:
        """A first client came, and the pipeline was made for it."""
        self._source = media.get_element().get_by_name("feed")
        if self._options.then_size:
            size = media.get_element().get_by_name("size")
            wait_ms = round(self._options.change_after * 1000)
            GLib.timeout_add(wait_ms, self._change, size)

    def _change(self, size: Any) -> bool:
        width, height = self._options.then_size.split("x")
        caps = size.get_property("caps").to_string()
        for name, value in (("width", width), ("height", height)):
            before, _, after = caps.partition(f"{name}=(int)")
            caps = before + f"{name}=(int){value}" + after.lstrip("0123456789")
        size.set_property("caps", Gst.Caps.from_string(caps))
        return False

    def _pump(self) -> None:
        width, height = (int(side) for side in self._options.size.split("x"))
        count = width * height * 3 // 2
        while True:
            frame = sys.stdin.buffer.read(count)
            if len(frame) < count:
                os._exit(0)
            if self._source is not None:
                self._source.emit("push-buffer", Gst.Buffer.new_wrapped(frame))


def _auth(options: argparse.Namespace, factory: Any) -> Any:
    auth = GstRtspServer.RTSPAuth()
    if options.certificate:
        certificate = Gio.TlsCertificate.new_from_file(options.certificate)
        auth.set_tls_certificate(certificate)
    token = _token("viewer")
    if not options.user:
        auth.set_default_token(token)  # without it TLS alone asks for a password
    elif options.auth == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(options.user, os.environ[options.password_variable], token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        password = os.environ[options.password_variable]
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(options.user, password), token)
    rights = GstRtspServer.RTSPPermissions()
    for right in ("media.factory.access", "media.factory.construct"):
        rights.add_permission_for_role("viewer", right, True)
    factory.set_permissions(rights)
    return auth


def _token(role: str) -> Any:
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", role)
    return token


if __name__ == "__main__":
    main()
