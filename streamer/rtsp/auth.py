"""RTSP authentication: Digest on both sides, Basic as a client (RFC 2617, RFC 7616)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from streamer.clock import Clock
from streamer.rtsp.url import Credentials, host_of

DigestAlgorithm = Literal["MD5", "MD5-sess", "SHA-256", "SHA-256-sess"]

_ALGORITHMS: tuple[DigestAlgorithm, ...] = ("SHA-256-sess", "SHA-256", "MD5-sess", "MD5")
"""Strongest first."""

_REALM = "streamer"
_NONCE_LIFE_S = 300
_NONCE_APART_NS = 60_000_000_000
"""Those that are given within it are the same one. A player that comes again and again with an old
password then says the same thing each time, which is no other guess."""
_MAX_HEADER = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a server asks for in one ``WWW-Authenticate``."""

    scheme: Literal["basic", "digest"]
    realm: str = ""
    nonce: str = ""
    opaque: str | None = None
    algorithm: DigestAlgorithm = "MD5"
    states_algorithm: bool = False
    qop: str | None = None
    """``auth`` where the server offers it, else ``None``; ``auth-int`` is not done."""
    is_stale: bool = False
    """The last answer was right, only its nonce was too old."""

    @property
    def strength(self) -> int:
        if self.scheme == "basic":
            return 0
        return len(_ALGORITHMS) - _ALGORITHMS.index(self.algorithm)


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """The challenges in all ``WWW-Authenticate`` fields that can be answered, strongest first."""
    found = []
    for value in values:
        for scheme, parameters in _split_challenges(value[:_MAX_HEADER]):
            challenge = _challenge(scheme, parameters)
            if challenge is not None:
                found.append(challenge)
    return sorted(found, key=lambda challenge: -challenge.strength)


class ClientAuth:
    """Answers one server's challenges; one for each connection."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials
        self._challenge: Challenge | None = None
        self._count = 0
        self._was_accepted = False

    def take_challenge(self, values: Iterable[str]) -> bool:
        """Whether asking again with ``authorization`` makes sense after a 401.

        It does not where there is no password, no scheme that we speak, or where the same scheme
        was answered before and the nonce was not stale: then the password is wrong.
        """
        challenges = parse_challenges(values)
        if self._credentials is None or not challenges:
            return False
        best, last = challenges[0], self._challenge
        # Some servers never say "stale": a new nonce after an accepted answer is the same thing.
        is_renewed = last is not None and self._was_accepted and last.nonce != best.nonce
        was_refused = (
            last is not None
            and (last.scheme, last.realm) == (best.scheme, best.realm)
            and not best.is_stale
            and not is_renewed
        )
        self._challenge, self._count, self._was_accepted = best, 0, False
        return not was_refused

    def authorization(self, method: str, url: str) -> str | None:
        """The ``Authorization`` of a request; ``None`` before the first challenge."""
        challenge, credentials = self._challenge, self._credentials
        if challenge is None or credentials is None:
            return None
        if challenge.scheme == "basic":
            pair = f"{credentials.user}:{credentials.password}".encode()
            return "Basic " + base64.b64encode(pair).decode()
        self._count += 1
        return _digest_answer(
            challenge, credentials, method=method, url=url, count=self._count, cnonce=_token()
        )

    def accepted(self) -> None:
        """The last answer was taken: a later challenge with a new nonce may be answered again."""
        self._was_accepted = True


class Verdict(Enum):
    """What a server thinks of an ``Authorization``."""

    GRANTED = "granted"
    STALE = "stale"
    """The password is right, the nonce too old: challenge again with ``is_stale``."""
    MISSING = "missing"
    DENIED = "denied"


class ServerAuth:
    """Challenges clients and checks their answers; one for all connections.

    Nonces carry the time they were made and a keyed hash, so nothing is stored for a client.
    """

    def __init__(
        self,
        users: Mapping[str, str],
        *,
        clock: Clock,
        algorithms: Sequence[DigestAlgorithm] = ("SHA-256", "MD5"),
    ) -> None:
        """``users`` are names and their passwords."""
        self._users = dict(users)
        # Checked for names that nobody has, so that they take as long as a wrong password.
        self._nobodys = secrets.token_hex(16)
        self._clock = clock
        self._algorithms = tuple(algorithms)
        self._key = secrets.token_bytes(32)

    def challenges(self, *, is_stale: bool = False) -> list[str]:
        """The values of the ``WWW-Authenticate`` fields of a 401, strongest first.

        ffmpeg 5 and some cameras read only the last one: it is the one everybody speaks.
        """
        stale = ", stale=true" if is_stale else ""
        nonce = self._new_nonce()
        return [
            f'Digest realm="{_REALM}", nonce="{nonce}", algorithm={algorithm}, qop="auth"{stale}'
            if algorithm != "MD5"
            # RFC 2069 form: the one that every client speaks.
            else f'Digest realm="{_REALM}", nonce="{nonce}"{stale}'
            for algorithm in self._algorithms
        ]

    def check(self, authorization: str | None, *, method: str, url: str) -> Verdict:
        """Whether the client may do ``method`` on ``url``, as its request line names it."""
        if not authorization:
            return Verdict.MISSING
        scheme, _, rest = authorization[:_MAX_HEADER].strip().partition(" ")
        if scheme.lower() == "digest":
            return self._check_digest(parse_parameters(rest), method=method, url=url)
        return Verdict.DENIED

    def _check_digest(self, given: Mapping[str, str], *, method: str, url: str) -> Verdict:
        algorithm = _algorithm(given.get("algorithm", "MD5"))
        qop, uri = given.get("qop"), given.get("uri", "")
        if algorithm not in self._algorithms or qop not in (None, "auth"):
            return Verdict.DENIED
        if given.get("realm") != _REALM or not _covers(uri, url):
            return Verdict.DENIED
        age_s = self._nonce_age_s(given.get("nonce", ""))
        if age_s is None:
            return Verdict.DENIED
        user = given.get("username", "")
        wanted = _response(
            Challenge(
                scheme="digest",
                realm=_REALM,
                nonce=given.get("nonce", ""),
                algorithm=algorithm,
                qop=qop,
            ),
            Credentials(user, self._users.get(user, self._nobodys)),
            method=method,
            url=uri,
            count=given.get("nc", ""),
            cnonce=given.get("cnonce", ""),
        )
        response = given.get("response", "").lower().encode()
        is_right = hmac.compare_digest(response, wanted.encode())
        if not is_right or user not in self._users:
            return Verdict.DENIED
        return Verdict.GRANTED if age_s <= _NONCE_LIFE_S else Verdict.STALE

    def _new_nonce(self) -> str:
        now_ns = self._clock.now_ns()
        made = f"{now_ns - now_ns % _NONCE_APART_NS:x}"
        return f"{made}.{self._mark(made)}"

    def _nonce_age_s(self, nonce: str) -> float | None:
        """How old a nonce of ours is; ``None`` for one that is not ours."""
        made, _, mark = nonce.rpartition(".")
        if not hmac.compare_digest(mark.encode(), self._mark(made).encode()):
            return None
        return (self._clock.now_ns() - int(made, 16)) / 1e9

    def _mark(self, made: str) -> str:
        return hmac.new(self._key, made.encode(), hashlib.sha256).hexdigest()[:32]


def parse_parameters(text: str) -> dict[str, str]:
    """``name=value`` and ``name="quoted \\" value"`` pairs, names lower case; the first one counts."""
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(text):
        quoted, plain = match["quoted"], match["plain"]
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
        found.setdefault(match["name"].lower(), value)
    return found


_PARAMETER = re.compile(
    r'(?P<name>[A-Za-z0-9_*-]+)[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]*))'
)
_SCHEME = re.compile(r"(?:^|,)[ \t]*([A-Za-z][A-Za-z0-9-]*)(?=[ \t]+[^\s=,]+[ \t]*=|[ \t]*(?:,|$))")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def _split_challenges(value: str) -> list[tuple[str, dict[str, str]]]:
    """Schemes and their parameters; one field may hold several, and commas stand in both places."""
    # Quoted text is blanked for the search, so that a realm cannot pass for a scheme.
    plain = _QUOTED.sub(lambda match: '"' + "_" * (len(match[0]) - 2) + '"', value)
    begins = list(_SCHEME.finditer(plain))
    cuts = [*(match.start() for match in begins), len(value)]
    return [
        (match[1].lower(), parse_parameters(value[match.end() : cuts[index + 1]]))
        for index, match in enumerate(begins)
    ]


def _challenge(scheme: str, parameters: Mapping[str, str]) -> Challenge | None:
    realm = parameters.get("realm", "")
    if scheme == "basic":
        return Challenge(scheme="basic", realm=realm)
    algorithm = _algorithm(parameters.get("algorithm", "MD5"))
    if scheme != "digest" or algorithm is None or "nonce" not in parameters:
        return None
    offered = [word.strip().lower() for word in parameters.get("qop", "").split(",") if word]
    if offered and "auth" not in offered:
        return None
    return Challenge(
        scheme="digest",
        realm=realm,
        nonce=parameters["nonce"],
        opaque=parameters.get("opaque"),
        algorithm=algorithm,
        states_algorithm="algorithm" in parameters,
        qop="auth" if offered else None,
        is_stale=parameters.get("stale", "").lower() == "true",
    )


def _algorithm(text: str) -> DigestAlgorithm | None:
    return next((name for name in _ALGORITHMS if name.lower() == text.strip().lower()), None)


def _digest_answer(
    challenge: Challenge,
    credentials: Credentials,
    *,
    method: str,
    url: str,
    count: int,
    cnonce: str,
) -> str:
    counted = f"{count:08x}"
    response = _response(
        challenge, credentials, method=method, url=url, count=counted, cnonce=cnonce
    )
    parts = [
        f'username="{_escaped(credentials.user)}"',
        f'realm="{_escaped(challenge.realm)}"',
        f'nonce="{_escaped(challenge.nonce)}"',
        f'uri="{url}"',
        f'response="{response}"',
    ]
    if challenge.states_algorithm:
        parts.append(f"algorithm={challenge.algorithm}")
    if challenge.opaque is not None:
        parts.append(f'opaque="{_escaped(challenge.opaque)}"')
    if challenge.qop or challenge.algorithm.endswith("-sess"):
        parts.append(f'cnonce="{cnonce}"')
    if challenge.qop:
        parts += [f"qop={challenge.qop}", f"nc={counted}"]
    return "Digest " + ", ".join(parts)


def _response(
    challenge: Challenge,
    credentials: Credentials,
    *,
    method: str,
    url: str,
    count: str,
    cnonce: str,
) -> str:
    """The digest's ``response``, lower-case hexadecimal (RFC 7616, 3.4.1)."""
    name = "sha256" if challenge.algorithm.startswith("SHA-256") else "md5"

    def digest(*parts: str) -> str:
        # MD5 is what cameras speak; nothing else here relies on it.
        return hashlib.new(name, ":".join(parts).encode(), usedforsecurity=False).hexdigest()

    secret = digest(credentials.user, challenge.realm, credentials.password)
    if challenge.algorithm.endswith("-sess"):
        secret = digest(secret, challenge.nonce, cnonce)
    action = digest(method, url)
    if challenge.qop:
        return digest(secret, challenge.nonce, count, cnonce, challenge.qop, action)
    return digest(secret, challenge.nonce, action)


def _covers(uri: str, url: str) -> bool:
    """Whether a digest for ``uri`` may be used for ``url``.

    Clients differ: some name the path only, some (VLC) the stream where they ask for a track.
    """
    signed, asked = _path_of(uri), _path_of(url)
    return bool(uri) and (asked == signed or asked.startswith(signed.rstrip("/") + "/"))


def _path_of(uri: str) -> str:
    return re.sub(r"^rtsps?://[^/?]*", "", uri, flags=re.IGNORECASE) if host_of(uri) else uri


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _token() -> str:
    return secrets.token_hex(8)
