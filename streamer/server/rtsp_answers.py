"""What an RTSP client asks, and the answer to it (RFC 2326)."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Awaitable, Callable

from streamer.rtsp.auth import Verdict
from streamer.rtsp.message import Headers, Request, Response
from streamer.rtsp.sdp import SessionDescription, write_sdp
from streamer.server.rtsp_caller import Caller, Place, Refusal, locate
from streamer.server.rtsp_desk import RtspDesk
from streamer.server.rtsp_session import TIMEOUT_S, RtspSession
from streamer.server.rtsp_setup import choose, described, new_way, prepare
from streamer.sinks.rtsp_mount import RtspMount
from streamer.sinks.rtsp_tracks import Track

METHODS = (
    *("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN"),
    *("GET_PARAMETER", "SET_PARAMETER"),
)
PUBLIC = ("Public", ", ".join(METHODS))
OF_OTHER_SERVERS = ("ANNOUNCE", "RECORD", "REDIRECT")
"""Methods of RFC 2326 that a server which only plays does not allow."""
ONLY_PLAYS = "Only Playing Is Allowed Here, Publish by RTMP or WHIP"
"""Publishers (ffmpeg, GStreamer) show the reason to their user."""

MAX_WRONG_PASSWORDS = 6
"""On one connection; a player asks once without one, and perhaps twice with what its user types."""

TOO_MANY_GUESSES = "Too Many Wrong Passwords From Your Address"

_SDP = "application/sdp"


class Answers:
    """Answers the requests of one connection, in order."""

    def __init__(self, desk: RtspDesk, caller: Caller) -> None:
        self._desk = desk
        self._caller = caller
        self._wrong_passwords = 0
        self._is_known = False
        """Whether the last password on this connection was right."""
        self._session_id = secrets.randbits(48)
        self._methods: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "OPTIONS": self._options,
            "DESCRIBE": self._describe,
            "SETUP": self._setup,
            "PLAY": self._play,
            "PAUSE": self._pause,
            "TEARDOWN": self._teardown,
            "GET_PARAMETER": self._parameter,
            "SET_PARAMETER": self._parameter,
        }

    @property
    def is_welcome(self) -> bool:
        """False once it has guessed too many passwords."""
        return self._wrong_passwords < MAX_WRONG_PASSWORDS

    async def answer(self, request: Request) -> Response:
        """The answer, ready to send. No packet of a session begun by it is sent before."""
        try:
            response = await self._answer(request)
        except Refusal as refusal:
            response = refusal.response
        number = [("CSeq", request.cseq)] if _is_number(request.cseq) else []
        fields = (*number, ("Server", "Streamer"), *response.headers.fields)
        return Response(response.status, Headers(fields), response.body, response.reason)

    async def _answer(self, request: Request) -> Response:
        if not _is_number(request.cseq):
            raise Refusal(400)
        method = self._methods.get(request.method)
        if request.method in OF_OTHER_SERVERS:
            raise Refusal(405, ("Allow", PUBLIC[1]), reason=ONLY_PLAYS)
        if method is None:
            raise Refusal(501, ("Allow", PUBLIC[1]))
        if request.method != "OPTIONS":
            self._check_password(request)
        required = request.headers.get("require") or request.headers.get("proxy-require")
        if required:
            raise Refusal(551, ("Unsupported", re.sub(r"[^ -~]", "", required)[:200]))
        for session in self._caller.sessions.values():
            session.touch()
        return await method(request)

    async def _options(self, request: Request) -> Response:
        return Response(200, Headers((PUBLIC,)))

    async def _describe(self, request: Request) -> Response:
        place = locate(request.url)
        mount = self._mount(place)
        accepted = request.headers.get("accept", _SDP)
        if not re.search(r"application/(sdp|\*)|\*/\*", accepted):
            raise Refusal(406)
        media = await mount.described()
        if not media:
            raise Refusal(503, ("Retry-After", "2"))
        sdp = write_sdp(
            SessionDescription(name=mount.name, media=media),
            address=self._caller.own_address[0].partition("%")[0],
            session_id=self._session_id,
        )
        fields = (("Content-Base", place.base), ("Content-Type", _SDP))
        return Response(200, Headers(fields), sdp.encode())

    async def _setup(self, request: Request) -> Response:
        place = locate(request.url)
        mount = self._mount(place)
        track = _track(mount, place)
        session = self._named_session(request) if "session" in request.headers else None
        if session is not None and session.path != place.path:
            raise Refusal(459)
        if session is not None and session.is_playing:
            raise Refusal(455, ("Allow", "OPTIONS, PLAY, PAUSE, TEARDOWN"))
        if session is not None:
            self._caller.free(session.channels_of(track.number))
        choice, transport = await choose(
            request.headers.get("transport", ""),
            desk=self._desk,
            caller=self._caller,
            session=session,
        )
        if session is None:
            if self._desk.is_full:
                raise Refusal(453)
            way = new_way(choice, self._caller)
            session = self._desk.open(place.path, mount, way, self._caller)
        prepare(choice, desk=self._desk, caller=self._caller, session=session, track=track.number)
        url = f"{place.base}{track.control}"
        channel = transport.interleaved[0] if transport.interleaved else 0
        lane = session.add_track(track, url, channel=channel)
        fields = (
            ("Transport", described(transport, ssrc=lane.ssrc)),
            ("Session", f"{session.id};timeout={TIMEOUT_S}"),
        )
        return Response(200, Headers(fields))

    async def _play(self, request: Request) -> Response:
        session = self._named_session(request)
        self._check_whole(session, request)
        # Whatever the range: what is live has only one place to play from.
        if not re.match(r"(npt|clock|smpte)", request.headers.get("range", "npt").lower()):
            raise Refusal(457)
        if session.way.is_tcp and session.id not in self._caller.sessions:
            raise Refusal(455)
        fields = (
            ("Session", session.id),
            ("Range", "npt=now-"),
            ("RTP-Info", session.play()),
        )
        return Response(200, Headers(fields))

    async def _pause(self, request: Request) -> Response:
        session = self._named_session(request)
        self._check_whole(session, request)
        if not session.is_playing:
            raise Refusal(455, ("Allow", "OPTIONS, SETUP, PLAY, TEARDOWN"))
        session.pause()
        return Response(200, Headers((("Session", session.id),)))

    async def _teardown(self, request: Request) -> Response:
        session = self._named_session(request)
        self._check_whole(session, request)
        self._desk.end(session)
        return Response(200)

    async def _parameter(self, request: Request) -> Response:
        """Without a body it keeps a session alive; parameters there are none."""
        fields: tuple[tuple[str, str], ...] = ()
        if "session" in request.headers:
            fields = (("Session", self._named_session(request).id),)
        if request.body.strip():
            raise Refusal(451, *fields)
        return Response(200, Headers(fields))

    def _check_password(self, request: Request) -> None:
        auth = self._desk.auth
        if auth is None:
            return
        given = request.headers.get("authorization", "")
        wait_s = self._desk.guesses.wait_s(self._caller.host)
        # Who is known goes on watching, whatever others guess at the same address.
        if given and wait_s > 0 and not self._is_known:
            retry = ("Retry-After", str(math.ceil(wait_s)))
            raise Refusal(503, retry, reason=TOO_MANY_GUESSES)
        verdict = auth.check(given, method=request.method, url=request.url)
        if verdict is Verdict.GRANTED:
            self._is_known = True
            return
        if verdict is Verdict.DENIED:
            self._is_known = False
            self._wrong_passwords += 1
            self._desk.guesses.count(self._caller.host, given)
        values = auth.challenges(is_stale=verdict is Verdict.STALE)
        raise Refusal(401, *(("WWW-Authenticate", value) for value in values))

    def _mount(self, place: Place) -> RtspMount:
        mount = self._desk.mount(place.path)
        if mount is None:
            raise Refusal(404)
        return mount

    def _named_session(self, request: Request) -> RtspSession:
        session_id = request.headers.get("session", "").partition(";")[0].strip()
        session = self._desk.session(session_id)
        if session is None:
            raise Refusal(454)
        session.touch()
        return session

    def _check_whole(self, session: RtspSession, request: Request) -> None:
        """Several tracks play, pause and end together only."""
        place = locate(request.url)
        if place.path != session.path:
            raise Refusal(404 if self._desk.mount(place.path) is None else 455)
        if place.track is not None and session.track_numbers != {place.track}:
            raise Refusal(460)


def _is_number(cseq: str) -> bool:
    return re.fullmatch(r"[0-9]{1,10}", cseq) is not None


def _track(mount: RtspMount, place: Place) -> Track:
    tracks = {track.number: track for track in mount.tracks}
    if place.track is None:
        if len(tracks) > 1:
            raise Refusal(459)
        return mount.tracks[0]
    if place.track not in tracks:
        raise Refusal(404)
    return tracks[place.track]
