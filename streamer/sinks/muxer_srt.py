"""MPEG-TS over SRT through the ``ffmpeg`` program: the libav in PyAV's wheels has no SRT."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import BinaryIO

from streamer.errors import SinkError

CLOSE_WITHIN_S = 30.0
"""The parent ends both sooner; this is for when it is gone."""

KEPT_LINES = 8
PR_SET_PDEATHSIG = 1
SIGKILL = 9


def needs_srt() -> None:
    """Raises ``SinkError`` where there is no ``ffmpeg`` that speaks SRT; takes some 50 ms."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise SinkError("srt:// outputs need the ffmpeg program; install ffmpeg with SRT")
    done = subprocess.run(
        [program, "-v", "quiet", "-protocols"], capture_output=True, timeout=10, check=False
    )
    if b"srt" not in done.stdout.split(b"Output:")[-1].split():
        raise SinkError(
            "the ffmpeg program here was built without SRT; install one with it, as Debian's is"
        )


class SrtBridge:
    """A running ``ffmpeg`` that passes on the MPEG-TS on ``stdin``; for the muxer's child only.

    The passphrase and the stream id reach it through a pipe that it reads as a preset file, so
    the list of processes shows host, port and harmless options and nothing else.
    """

    def __init__(self, url: str, secrets: Mapping[str, str], *, opened: Callable[[], None]) -> None:
        """``opened`` is called from a thread of its own once the peer has answered."""
        self._opened = opened
        self._secrets = [value for value in secrets.values() if value]
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        reading, writing = os.pipe()
        try:
            # Far below what a pipe holds, so this cannot wait.
            os.write(writing, "".join(f"{k}={v}\n" for k, v in secrets.items()).encode())
        finally:
            os.close(writing)
        try:
            self._process = subprocess.Popen(
                _command(url, preset=f"/dev/fd/{reading}"),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(reading,),
                # Safe here: the child has no second thread yet.
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )
        except OSError as error:
            raise SinkError(
                f"the ffmpeg program could not be started ({error.strerror})"
            ) from error
        finally:
            os.close(reading)
        self._listening = threading.Thread(target=self._listen, name="ffmpeg", daemon=True)
        self._listening.start()

    @property
    def stdin(self) -> BinaryIO:
        assert self._process.stdin is not None
        return self._process.stdin  # type: ignore[return-value]

    def reason(self) -> str:
        """Its last words, without the secrets; empty while it runs well."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._listening.join(1.0)
        if any("Incorrect passphrase" in line for line in self._lines):
            return "it refused the passphrase"
        text = self._lines[-1] if self._lines else ""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text.rsplit(": ", 1)[-1]

    def close(self) -> None:
        """Let it send what it has."""
        with suppress(OSError):
            self.stdin.close()
        try:
            self._process.wait(CLOSE_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for raw in self._process.stderr:
            line = raw.decode(errors="replace").strip()
            if line.startswith("Output #0"):
                # It says so after the handshake.
                self._opened()
            if line:
                self._lines.append(line)


def _command(url: str, *, preset: str) -> list[str]:
    quiet = ["ffmpeg", "-hide_banner", "-nostats", "-v", "info"]
    # 32 KB find the first keyframe's parameter sets; the default waits for five seconds of stream.
    entry = ["-probesize", "32768", "-fpsprobesize", "0", "-f", "mpegts", "-i", "pipe:0"]
    passed = ["-map", "0", "-c", "copy", "-copyts", "-muxdelay", "0", "-flush_packets", "1"]
    return [*quiet, *entry, *passed, "-f", "mpegts", "-fpre", preset, url]


def _die_with_parent() -> None:
    """Otherwise a muxer that was killed would leave an ffmpeg that still connects."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
