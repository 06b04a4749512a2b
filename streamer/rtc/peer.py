"""The door to aiortc: what both directions need of a connection, whoever sends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.rtcdtlstransport import RTCCertificate
from aiortc.sdp import MediaDescription, SessionDescription

from streamer.errors import StreamerError
from streamer.ice import IceServer
from streamer.rtc.session import OfferInvalid, OfferUnsupported

NOT_CODECS = frozenset({"rtx", "red", "ulpfec", "flexfec-03", "telephone-event", "cn"})

MAX_SECTIONS = 16
"""Media sections of an offer: far more than any browser makes, and each costs us a socket."""

MAX_CANDIDATES = 64
"""Addresses of an offer: each is checked against each of ours."""

MAX_LINES = 1_000
"""Of an offer: Chromium writes 220 for picture, sound and data. Each line may be about all formats of
its section, and aiortc looks at every pair: 3,000 lines took eleven seconds, in which nothing else ran."""

MAX_PORT = 65_535

BUNDLE = "a=group:BUNDLE"

MAX_SRTP_BYTES = 1_500
"""What pylibsrtp decrypts in one piece."""

CIPHERS = b":".join(
    b"ECDHE-%s-%s" % (key, cipher)
    for cipher in (b"AES128-GCM-SHA256", b"CHACHA20-POLY1305", b"AES128-SHA")
    for key in (b"ECDSA", b"RSA")
)
"""Those of aiortc, each for both kinds of certificate; all have forward secrecy."""

# What aiortc's parser and its checks raise on text that is not a proper offer.
MALFORMED = (
    ValueError,
    LookupError,
    AttributeError,
    AssertionError,
    TypeError,
    InvalidAccessError,
    InvalidStateError,
)


def new_connection(ice_servers: Iterable[IceServer] = ()) -> RTCPeerConnection:
    """A connection that asks no server we were not given.

    An empty list, not None: with None aiortc asks a public STUN server.
    """
    servers = [RTCIceServer(one.url, one.username, one.credential) for one in ice_servers]
    connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    for certificate in private(connection, "_RTCPeerConnection__certificates"):
        _meet_rsa(certificate)
    return connection


def _meet_rsa(certificate: RTCCertificate) -> None:
    """Have DTLS also meet peers whose certificate is RSA, as GStreamer's is up to 1.22.

    aiortc offers ciphers for ECDSA alone. It asks its certificate for a context once per
    connection.
    """
    create: Callable[..., Any] = private(certificate, "_create_ssl_context")

    def create_for_both(srtp_profiles: Any) -> Any:
        context = create(srtp_profiles=srtp_profiles)
        context.set_cipher_list(CIPHERS)
        return context

    certificate._create_ssl_context = create_for_both  # type: ignore[method-assign]


def parse_offer(offer_sdp: str) -> SessionDescription:
    """The offer, taken apart; raises ``OfferInvalid`` for what no connection can be made from."""
    if not offer_sdp.lstrip().startswith("v=0"):
        raise OfferInvalid("the body is not an SDP offer: it does not begin with v=0")
    lines = offer_sdp.splitlines()
    if (medias := sum(line.startswith("m=") for line in lines)) > MAX_SECTIONS:
        raise OfferInvalid(f"the offer has {medias} media sections; up to {MAX_SECTIONS} are taken")
    if len(lines) > MAX_LINES:
        raise OfferInvalid(f"the offer has {len(lines)} lines; up to {MAX_LINES} are taken")
    try:
        description = SessionDescription.parse(offer_sdp)
    except StopIteration as error:
        raise OfferInvalid(
            "the SDP offer cannot be parsed: an a=fmtp line is for a format without an a=rtpmap line"
        ) from error
    except MALFORMED as error:
        why = str(error) or type(error).__name__
        raise OfferInvalid(f"the SDP offer cannot be parsed: {why}") from error
    candidates = sum(len(media.ice_candidates) for media in description.media)
    if candidates > MAX_CANDIDATES:
        raise OfferInvalid(
            f"the offer has {candidates} ICE candidates; up to {MAX_CANDIDATES} are taken"
        )
    ports = (one.port for media in description.media for one in media.ice_candidates)
    if (wrong := next((port for port in ports if not 0 <= port <= MAX_PORT), None)) is not None:
        raise OfferInvalid(f"an ICE candidate has the port {wrong}; a port is 0 to {MAX_PORT}")
    return description


def check_transport(description: SessionDescription) -> None:
    """Raise ``OfferInvalid`` unless every section can be encrypted."""
    if not all(media.dtls and media.dtls.fingerprints for media in description.media):
        raise OfferInvalid("the offer has no DTLS fingerprint")


async def accept_offer(connection: RTCPeerConnection, offer_sdp: str, *, unknown_codec: str) -> str:
    """Apply the offer and give the answer, with every candidate of ours in it.

    ``unknown_codec`` is the sentence for a section that has no codec in common with ours.
    """
    offer_sdp = _without_missing_mids(without_hidden_addresses(offer_sdp))
    offer = RTCSessionDescription(sdp=offer_sdp, type="offer")
    ours = connection.getTransceivers()
    try:
        await connection.setRemoteDescription(offer)
        for transceiver in connection.getTransceivers():
            if transceiver not in ours:
                # aiortc would receive and decode it, and keep what nobody fetches, for ever.
                transceiver.direction = "inactive"
        _leave_out_unreadable(connection)
        await connection.setLocalDescription()
    except OperationError as error:
        raise OfferUnsupported(unknown_codec) from error
    except MALFORMED as error:
        raise OfferInvalid(f"the offer cannot be used: {error}") from error
    return _bundled_as_offered(connection.localDescription.sdp, offer_sdp)


def _leave_out_unreadable(connection: RTCPeerConnection) -> None:
    """Have datagrams that aiortc cannot read be lost; call it before the sockets are opened.

    Anybody may send to them, and who looks for open ports sends empty ones. aiortc's loop would end
    at those and at what is too long to be decrypted, and the session with it. aioice hands over
    all that is not STUN through ``data_received``.
    """
    for transport in private(connection, "_RTCPeerConnection__iceTransports"):
        ice = private(transport, "_connection")
        pass_on: Callable[[bytes, int], None] = private(ice, "data_received")
        ice.data_received = partial(_pass_on_readable, pass_on)


def _pass_on_readable(pass_on: Callable[[bytes, int], None], data: bytes, component: int) -> None:
    # RFC 7983 tells SRTP from DTLS by the first byte.
    is_too_long = len(data) > MAX_SRTP_BYTES and 128 <= data[0] <= 191
    if data and not is_too_long:
        pass_on(data, component)


def sections(description: SessionDescription, kind: str) -> list[MediaDescription]:
    """The media sections of one kind; bundled ones have port 0, so it does not switch one off."""
    return [media for media in description.media if media.kind == kind]


def has_codec(media: MediaDescription, *names: str) -> bool:
    """Whether the section offers one of these, as in ``"H264"``."""
    wanted = {name.lower() for name in names}
    return any(codec.name.lower() in wanted for codec in media.rtp.codecs)


def codec_names(media: MediaDescription) -> str:
    """What the section offers, for a sentence."""
    names = dict.fromkeys(codec.name for codec in media.rtp.codecs)
    return ", ".join(name for name in names if name.lower() not in NOT_CODECS) or "nothing"


def prefer(known: Iterable[Any], *names: str) -> list[Any]:
    """Of aiortc's capabilities those with these names, in that order."""
    by_name = list(known)
    return [codec for name in names for codec in by_name if codec.name.lower() == name.lower()]


def private(owner: object, name: str) -> Any:
    """An attribute that aiortc does not promise; says which version has it."""
    try:
        return getattr(owner, name)
    except AttributeError:
        raise StreamerError(
            f"this aiortc has no {type(owner).__name__}.{name}; install aiortc 1.16"
        ) from None


def without_hidden_addresses(offer_sdp: str) -> str:
    """The offer without ``.local`` candidates and without the end of candidates.

    Browsers hide their addresses behind multicast names. aioice would spend a second looking each
    one up, and give up where multicast does not work. The browser finds us anyway, and its address
    is learned from its first check, for as long as candidates have not been declared complete.
    """

    def is_kept(line: str) -> bool:
        is_hidden = line.startswith("a=candidate:") and ".local " in line
        return not is_hidden and line != "a=end-of-candidates"

    return "\r\n".join(line for line in offer_sdp.splitlines() if is_kept(line)) + "\r\n"


def _without_missing_mids(offer_sdp: str) -> str:
    """The offer whose BUNDLE group names only sections that there are.

    FFmpeg's WHIP output, as it first was, names its sound also where it sends none. aiortc takes
    the transport of the first one named for all, and is left with none, not even one to close.
    """
    medias = SessionDescription.parse(offer_sdp).media
    mids = {one.rtp.muxId for one in medias if one.kind in ("audio", "video", "application")}

    def kept(line: str) -> str:
        head, *named = line.split()
        return " ".join((head, *(mid for mid in named if mid in mids)))

    lines = offer_sdp.splitlines()
    return "".join(f"{kept(line) if line.startswith(BUNDLE) else line}\r\n" for line in lines)


def _bundled_as_offered(answer_sdp: str, offer_sdp: str) -> str:
    """The answer that bundles no more than was offered, as RFC 9143, section 7.3 has it.

    aiortc names all sections, and yet waits for each that was not offered so on a path of its own.
    """
    offered = [line.split()[1:] for line in offer_sdp.splitlines() if line.startswith(BUNDLE)]
    mids = " ".join(offered[0]) if offered else ""
    lines = (line for line in answer_sdp.splitlines() if mids or not line.startswith(BUNDLE))
    return "".join(
        f"{f'{BUNDLE} {mids}' if line.startswith(BUNDLE) else line}\r\n" for line in lines
    )
