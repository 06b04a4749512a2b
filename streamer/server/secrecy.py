"""What may be shown of a stream's settings, and what is cut out of every text about it."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from streamer.addresses import has_two_readings
from streamer.config import SinkSpec, StreamSettings, redacted, source_kind
from streamer.errors import ConfigError

STARS = "***"
SHORTEST = 3
"""Letters of a user or a password: anything shorter would be found inside ordinary words."""

SHORTEST_OTHER = 6
"""Letters of a path or a query's value, which often are such words: live, tcp, true."""

COMMON = frozenset({"stream", "camera"})
"""What paths are often called, and what every other line of the log says."""

BY_ADDRESS = ("rtsp", "network")


def shown_source(source: str) -> str:
    """The source for people to see: where it is, never the path, which may hold a password."""
    try:
        kind = source_kind(source)
    except ConfigError:
        return ""
    if kind in BY_ADDRESS:
        return SinkSpec(kind="push", target=source).label
    return Path(redacted(source)).name if kind == "file" else source


def metric_label(reason: str) -> str:
    """A reason or an output as a metric's label: of an address only its scheme is left."""
    return re.sub(r"([A-Za-z][A-Za-z0-9+.-]*)://\S*", r"\1", reason)


def secrets_of(settings: StreamSettings) -> frozenset[str]:
    """Every text in the settings that must never come out again."""
    urls = [sink.target for sink in settings.sinks if sink.kind == "push"]
    if "://" in settings.source:
        urls.append(settings.source)
    # What the stream is called as well is told to everybody, and the log's lines begin with it.
    known = COMMON | {settings.name}
    return frozenset(one for url in urls for one in _secrets_in(url, known=known))


def _secrets_in(url: str, *, known: Collection[str] = COMMON) -> Iterator[str]:
    """The whole of it, the user, the password, and of the query's values and the path what is not
    ``known`` anyway."""
    yield url
    rest = url.partition("://")[2]
    users = {re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[0]}
    if has_two_readings(url):
        users.add(rest.rpartition("@")[0])
    names = users | {name for user in users for name in user.split(":", 1)}
    yield from (one for one in names | set(map(unquote, names)) if len(one) >= SHORTEST)
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    # A camera's path may be /user=admin_password=..., a server's last part is the stream's key.
    others = {parts.path, parts.path.rpartition("/")[2]}
    # SRT's streamid may begin with a #, which ends the query of other addresses.
    for query in (parts.query, url.partition("?")[2]):
        others.update(re.findall(r"=([^&]+)", query))
    for one in others | set(map(unquote, others)):
        if len(one) >= SHORTEST_OTHER and one.removeprefix("/") not in known:
            yield one


def clean(text: str, secrets: Iterable[str]) -> str:
    """``text`` in one line without any of ``secrets``, nor any other secret of a URL."""
    for secret in sorted(secrets, key=len, reverse=True):
        is_url = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", secret)
        text = text.replace(secret, shown_source(secret) if is_url else STARS)
    return redacted(text)


def clean_values(value: Any, secrets: frozenset[str]) -> Any:
    """The same for every text inside JSON values."""
    if not secrets:
        return value
    if isinstance(value, str):
        return clean(value, secrets) if any(one in value for one in secrets) else value
    if isinstance(value, Mapping):
        return {key: clean_values(one, secrets) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean_values(one, secrets) for one in value]
    return value


def secrets_in_request(*texts: str) -> frozenset[str]:
    """What must not come back when a source or an output is refused before it is understood."""
    return frozenset(one for text in texts if "://" in text for one in _secrets_in(text))


class RedactingFilter(logging.Filter):
    """Cuts secrets out of every line that a log handler is given, tracebacks included."""

    def __init__(self, secrets: Callable[[], Iterable[str]]) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        secrets = tuple(self._secrets())
        lines = record.getMessage().splitlines()
        if record.exc_info:
            lines += "".join(traceback.format_exception(*record.exc_info)).splitlines()
        record.msg = "\n".join(clean(line, secrets) for line in lines)
        record.args, record.exc_info, record.exc_text = (), None, None
        return True
