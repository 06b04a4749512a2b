"""A publisher made with GStreamer; run by the system's Python, which has its bindings.

Signalling as in ``whip_peer``: the offer leaves on standard output as JSON, the answer comes on
standard input.
"""

import json
import sys

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # type: ignore[import-not-found]

CODERS = {
    "H264": "x264enc tune=zerolatency key-int-max=30 bitrate=800 ! "
    "video/x-h264,profile=constrained-baseline ! rtph264pay aggregate-mode=zero-latency "
    "config-interval=-1 pt=102 ! "
    "application/x-rtp,media=video,encoding-name=H264,payload=102,packetization-mode=(string)1",
    "VP8": "vp8enc deadline=1 keyframe-max-dist=30 ! rtpvp8pay pt=96 ! "
    "application/x-rtp,media=video,encoding-name=VP8,payload=96",
}


def main(codec: str) -> None:
    Gst.init(None)
    pipeline = Gst.parse_launch(
        "webrtcbin name=webrtc bundle-policy=max-bundle "
        "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=30/1 ! "
        f"videoconvert ! {CODERS[codec]} ! webrtc. "
        "audiotestsrc is-live=true ! audioconvert ! audioresample ! audio/x-raw,rate=48000 ! "
        "opusenc ! rtpopuspay pt=111 ! "
        "application/x-rtp,media=audio,encoding-name=OPUS,payload=111 ! webrtc."
    )
    webrtc = pipeline.get_by_name("webrtc")
    loop = GLib.MainLoop()

    def on_gathered(*_: object) -> None:
        if webrtc.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            return
        offer = webrtc.get_property("local-description").sdp.as_text()
        sys.stdout.write(json.dumps(offer) + "\n")
        sys.stdout.flush()

    def on_offer(promise: Gst.Promise, _: object) -> None:
        promise.wait()
        reply = promise.get_reply()
        text = reply.get_value("offer").sdp.as_text()
        # The one in the reply is freed together with it.
        _, message = GstSdp.SDPMessage.new_from_text(text)
        offer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, message)
        webrtc.emit("set-local-description", offer, None)

    def on_needed(*_: object) -> None:
        for number in range(2):
            transceiver = webrtc.emit("get-transceiver", number)
            if transceiver is not None:
                transceiver.set_property(
                    "direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY
                )
        promise = Gst.Promise.new_with_change_func(on_offer, None)
        webrtc.emit("create-offer", None, promise)

    def on_line(*_: object) -> bool:
        line = sys.stdin.readline()
        if not line:
            loop.quit()
            return False
        _, message = GstSdp.SDPMessage.new_from_text(json.loads(line))
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        webrtc.emit("set-remote-description", answer, None)
        return True

    webrtc.connect("on-negotiation-needed", on_needed)
    webrtc.connect("notify::ice-gathering-state", on_gathered)
    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, on_line)
    pipeline.set_state(Gst.State.PLAYING)
    loop.run()
    pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    main(sys.argv[1])
