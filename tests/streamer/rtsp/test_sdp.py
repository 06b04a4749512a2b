from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.rtsp.sdp import (
    Format,
    Media,
    SessionDescription,
    parse_sdp,
    sprop_parameter_sets,
    write_sdp,
)

CAMERA = """v=0
o=- 1109162014219182 1109162014219192 IN IP4 x.y.z.w
s=Media Presentation
e=NONE
b=AS:5100
t=0 0
a=control:rtsp://192.168.1.64/Streaming/Channels/101/
m=video 0 RTP/AVP 96
b=AS:5000
a=recvonly
a=x-dimensions:1920,1080
a=control:rtsp://192.168.1.64/Streaming/Channels/101/trackID=1
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=420029; packetization-mode=1; sprop-parameter-sets=Z00AKpWoHgCJ+WE=,aO48gA==
m=audio 0 RTP/AVP 8
a=recvonly
a=control:trackID=2
a=rtpmap:8 PCMA/8000
a=Media_header:MEDIAINFO=494D4B48010100000400000111710110401F000000FA0000
m=application 0 RTP/AVP 107
a=rtpmap:107 vnd.onvif.metadata/90000
a=appversion:1.0
"""


def test_a_camera_s_description_is_read() -> None:
    session = parse_sdp(CAMERA)
    assert session.control == "rtsp://192.168.1.64/Streaming/Channels/101/"
    video, audio, application = session.media
    assert (video.kind, video.direction) == ("video", "recvonly")
    (h264,) = video.formats
    assert (h264.encoding, h264.clock_rate, h264.payload_type) == ("H264", 90_000, 96)
    assert h264.parameters["packetization-mode"] == "1"
    assert h264.parameters["sprop-parameter-sets"] == "Z00AKpWoHgCJ+WE=,aO48gA=="
    assert audio.formats[0] == Format(payload_type=8, encoding="PCMA", clock_rate=8000)
    assert audio.control == "trackID=2"
    assert application.formats[0].encoding == "VND.ONVIF.METADATA"


@pytest.mark.parametrize(
    ("number", "encoding", "clock_rate"),
    [(0, "PCMU", 8000), (8, "PCMA", 8000), (26, "JPEG", 90_000), (33, "MP2T", 90_000)],
)
def test_static_payload_types_need_no_rtpmap(number: int, encoding: str, clock_rate: int) -> None:
    (media,) = parse_sdp(f"m=video 0 RTP/AVP {number}\r\n").media
    assert (media.formats[0].encoding, media.formats[0].clock_rate) == (encoding, clock_rate)


def test_carelessly_written_lines_are_read() -> None:
    session = parse_sdp(
        "s = \rm= video 0/1 RTP/AVPF  97   98\n"
        "A=ignored:upper-case types are none\n"
        "a= RTPMAP : 97 h265 / 90000\na=rtpmap:98 X/1\n"
        'a=fmtp:97 Sprop-VPS=QAE;sprop-sps="QgE=" ;; sprop-pps=RAE\n'
        "a=framerate:29.97\na=rtcp-fb:97 nack pli\na=rtcp-fb:* ccm fir\n"
        "nonsense\n=\na=control\n"
    )
    (media,) = session.media
    assert media.profile == "RTP/AVPF"
    assert media.feedback == ("nack pli", "ccm fir")
    assert media.framerate == Fraction(30_000, 1001)
    assert [one.payload_type for one in media.formats] == [97, 98]
    assert media.formats[0].encoding == "H265"
    sets = {"sprop-vps": "QAE", "sprop-sps": "QgE=", "sprop-pps": "RAE"}
    assert media.formats[0].parameters == sets


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("25", Fraction(25)),
        # Nearer to 5000/1001 than 29.97 is to 30000/1001.
        ("5", Fraction(5)),
        ("1.0", Fraction(1)),
        ("30.000000", Fraction(30)),
        ("12.5", Fraction(25, 2)),
        ("59.94005994005994", Fraction(60_000, 1001)),
        ("23.98", Fraction(24_000, 1001)),
    ],
)
def test_a_frame_rate_is_read_exactly(text: str, rate: Fraction) -> None:
    (media,) = parse_sdp(f"m=video 0 RTP/AVP 96\na=framerate:{text}").media
    assert media.framerate == rate


@pytest.mark.parametrize("text", ["0", "-5", "abc", "99999", "1e9", "nan"])
def test_a_frame_rate_that_is_none_is_left_out(text: str) -> None:
    (media,) = parse_sdp(f"m=video 0 RTP/AVP 96\na=framerate:{text}").media
    assert media.framerate is None


def test_what_is_written_reads_back() -> None:
    session = SessionDescription(
        name="live",
        control="*",
        media=(
            Media(
                kind="video",
                profile="RTP/AVPF",
                formats=(
                    Format(
                        payload_type=96,
                        encoding="H264",
                        clock_rate=90_000,
                        parameters={
                            "packetization-mode": "1",
                            "sprop-parameter-sets": sprop_parameter_sets([b"\x67\x42", b"\x68"]),
                        },
                    ),
                ),
                control="track=0",
                framerate=Fraction(25),
                feedback=("nack pli",),
                direction="recvonly",
            ),
            Media(
                kind="audio",
                formats=(Format(payload_type=97, encoding="OPUS", clock_rate=48_000, channels=2),),
                control="track=1",
            ),
        ),
    )
    text = write_sdp(session, address="10.0.0.1")
    assert text.startswith("v=0\r\no=- 0 1 IN IP4 10.0.0.1\r\ns=live\r\n")
    assert parse_sdp(text) == session


def test_a_line_break_in_a_value_is_not_written() -> None:
    with pytest.raises(ValueError, match="line breaks"):
        write_sdp(SessionDescription(name="live\r\na=injected"))


@given(st.text(max_size=500))
def test_any_text_is_read_without_an_error(text: str) -> None:
    parse_sdp(text)


PIECES = st.sampled_from([*CAMERA.replace("=", " = ").split(" "), "\n", ":", "/", "999999999", "-"])


@given(st.lists(PIECES, max_size=80).map("".join))
def test_any_mixture_of_a_description_s_parts_is_read_within_bounds(text: str) -> None:
    for media in parse_sdp(text).media:
        for one in media.formats:
            assert 0 <= one.payload_type < 128
            assert one.clock_rate > 0


def test_a_description_of_endless_tracks_is_cut() -> None:
    assert len(parse_sdp("m=video 0 RTP/AVP 96\n" * 5000).media) == 32
