"""The RTMP listener of the child: takes publishers until one has the key, then passes its FLV on."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from streamer.errors import SourceError
from streamer.sources.network_rtmp import RtmpSession

HANDSHAKE_WITHIN_S = 10.0
"""From a connection to the right key: a byte now and then must not keep a place."""

PUBLISHERS = 16
"""Connections at one time; whoever comes while so many are being asked for the key is hung up on."""

_READ_BYTES = 65_536
_PENALTY_S = 1.0
"""How long a wrong key keeps its connection's place: guessing is slow."""


class RtmpListener:
    """Bound when made; ``file_descriptor`` gives FLV once a publisher has come."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        app: str,
        key: str,
        silent_after_s: float,
        note: Callable[[str], None],
        handshake_within_s: float = HANDSHAKE_WITHIN_S,
    ) -> None:
        """``note`` is told who was refused and why. Raises ``SourceError``."""
        self._path = {"app": app, "key": key}
        self._silent_after_s = silent_after_s
        self._handshake_within_s = handshake_within_s
        self._note = note
        self._places = threading.BoundedSemaphore(PUBLISHERS)
        self._claim = threading.Lock()
        self._has_publisher = False
        self.file_descriptor, self._flv = os.pipe()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=16)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise SourceError(f"cannot be listened on ({reason}); use another port") from None
        threading.Thread(target=self._accept, name="rtmp accept", daemon=True).start()

    def _accept(self) -> None:
        was_full = False
        while True:
            try:
                connection, (host, *_) = self._socket.accept()
            except OSError:
                return
            if not self._places.acquire(blocking=False):
                connection.close()
                if not was_full:
                    self._note(
                        f"a publisher at {host} was hung up on: {PUBLISHERS} others are connected "
                        "without a key so far"
                    )
                was_full = True
                continue
            was_full = False
            threading.Thread(target=self._serve, args=(connection, host), daemon=True).start()

    def _serve(self, connection: socket.socket, host: str) -> None:
        session = RtmpSession(**self._path)
        try:
            with connection:
                self._converse(connection, session)
        except SourceError as error:
            self._note(f"a publisher at {host} was refused: it {error}")
            threading.Event().wait(_PENALTY_S)
        except TimeoutError:
            self._note(f"a publisher at {host} was hung up on: {_late(session)}")
        except OSError:
            pass  # gone; what it was is told by the stream's end
        finally:
            self._places.release()
            if session.is_publishing and self._has_publisher:
                self._end()

    def _converse(self, connection: socket.socket, session: RtmpSession) -> None:
        end_s = time.monotonic() + self._handshake_within_s
        while not session.is_over:
            left_s = self._silent_after_s if session.is_publishing else end_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            connection.settimeout(left_s)
            data = connection.recv(_READ_BYTES)
            if not data:
                return
            was_publishing = session.is_publishing
            try:
                session.feed(data)
            finally:
                with suppress(OSError):
                    connection.sendall(session.take_answers())
            if session.is_publishing and not was_publishing:
                self._begin(session)
            flv = session.take_flv()
            while flv:
                flv = flv[os.write(self._flv, flv) :]

    def _begin(self, session: RtmpSession) -> None:
        with self._claim:
            if self._has_publisher:
                session.is_publishing = False
                raise SourceError("came while another one is publishing")
            self._has_publisher = True

    def _end(self) -> None:
        """The stream is over: libav sees the end of its file."""
        self._socket.close()
        with suppress(OSError):
            os.close(self._flv)


def _late(session: RtmpSession) -> str:
    return "it sent nothing" if session.is_publishing else "it gave no key in time"
