"""The program of the child that reads the network with libav: one job in, packets out.

It parses what strangers send, so it is another process: bounded in memory, killed when it hangs.
Messages of the parent: the job, then answers to questions. Messages to it, by ``is``: ``note``,
``ask`` (may this host be connected to), ``opened``, ``stream``, ``packet``, ``end``, ``failed``.
"""

from __future__ import annotations

import os
import queue
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, BinaryIO

import av
import av.error

from streamer.addresses import trusted_roots
from streamer.child import Message, read_message, write_message
from streamer.clock import MonotonicClock
from streamer.errors import SourceError
from streamer.media import VideoInfo
from streamer.sources.network_http import HttpFiles
from streamer.sources.network_listen import RtmpListener
from streamer.sources.network_packets import Piece, Pieces, Sound
from streamer.srt import Srt

MEMORY_BYTES = 2 << 30
"""Of address space: libav and its threads take 0.4 GiB for a usual stream."""


class _Parent:
    """The pipes to the parent, shared by the threads; the child ends where they do."""

    def __init__(self, stdin: BinaryIO, stdout: BinaryIO) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._lock = threading.Lock()
        self._answers: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()

    def job(self) -> Mapping[str, Any]:
        message = read_message(self._stdin)
        if message is None:
            sys.exit(0)
        threading.Thread(target=self._listen, name="parent", daemon=True).start()
        return message.head

    def tell(self, head: Mapping[str, Any], payload: bytes = b"") -> None:
        try:
            with self._lock:
                write_message(self._stdout, Message(head, payload))
        except OSError:
            os._exit(0)  # nobody listens any more

    def note(self, text: str) -> None:
        """Say something that does not end the reading, after the source's name."""
        self.tell({"is": "note", "text": text})

    def may_connect(self, host: str) -> bool:
        """The parent's word; it knows the rules."""
        self.tell({"is": "ask", "host": host})
        return bool(self._answers.get()["may"])

    def _listen(self) -> None:
        while (message := read_message(self._stdin)) is not None:
            self._answers.put(message.head)
        # The parent has closed its end, or died: whatever libav waits for, nobody wants it.
        os._exit(0)


def main() -> None:
    """Do the job on standard input."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    av.logging.set_level(av.logging.PANIC)
    # Whatever else writes to standard output must not end up between the messages.
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    parent = _Parent(sys.stdin.buffer, messages)
    job = parent.job()
    try:
        _read(job, parent)
        parent.tell({"is": "end"})
    except SourceError as error:
        parent.tell({"is": "failed", "text": str(error)})
    except MemoryError:
        parent.tell({"is": "failed", "text": "needs more memory than a stream should; check it"})
    except (av.error.FFmpegError, OSError) as error:
        parent.tell({"is": "failed", "errno": error.errno, "reason": error.strerror or ""})


def _read(job: Mapping[str, Any], parent: _Parent) -> None:
    url, opening, files = _opened_by_us(job, parent)
    container = av.open(
        url,
        options=_with_roots(job["options"]),
        timeout=(None if job["waits_for_peer"] else job["open_within_s"], job["packet_within_s"]),
        metadata_errors="replace",
        **opening,
    )
    parent.tell({"is": "opened"})
    is_live = True
    if files is not None:
        files.is_begun = True
        # A playlist that goes on does not know how long it is, live FLV says 0; of a file the server may.
        is_live = not container.duration and not files.has_end
    comes_in_bursts = not is_live or container.format.name == "hls"
    pieces = Pieces(
        container, clock=MonotonicClock(), comes_in_bursts=comes_in_bursts, note=parent.note
    )
    for piece in pieces:
        if piece.video is not None:
            parent.tell(
                {
                    "is": "stream",
                    "video": _as_json(piece.video, is_live=is_live),
                    "audio": _sound_as_json(pieces.sound),
                    "is_paced": comes_in_bursts,
                }
            )
        parent.tell(_head(piece), piece.payload)


def _opened_by_us(
    job: Mapping[str, Any], parent: _Parent
) -> tuple[str, dict[str, Any], HttpFiles | None]:
    """What libav opens, and as what: where we bring the bytes not the address itself."""
    settings = job["settings"]
    if job["reader"] == "http":
        files = HttpFiles(
            job["url"],
            may_connect=parent.may_connect if job["asks"] else None,
            timeout_s=job["packet_within_s"],
            note=parent.note,
        )
        # By itself libav takes one for a playlist only if its name ends like that of one.
        opening = {"io_open": files.open, "format": "hls" if files.begin() else None}
        return job["url"], opening, files
    opening = {"format": job["format"]}
    if job["reader"] == "rtmp_listen":
        listener = RtmpListener(**settings, silent_after_s=job["packet_within_s"], note=parent.note)
        return f"pipe:{listener.file_descriptor}", opening, None
    if job["reader"] == "srt":
        return f"pipe:{_srt(settings, parent.note)}", opening, None
    return job["url"], opening, None


def _with_roots(options: Mapping[str, str]) -> dict[str, str]:
    """``options`` with the trusted roots, where they ask for them."""
    roots = trusted_roots() if "tls_verify" in options else None
    return {**options, **({"ca_file": roots} if roots else {})}


def _srt(settings: Mapping[str, Any], note: Any) -> int:
    """The end of a pipe that a thread fills from an SRT connection, which is there already."""
    srt = Srt(SourceError)
    rest = {name: value for name, value in settings.items() if name != "mode"}
    handle = (
        srt.accept(**rest, note=note) if settings["mode"] == "listener" else srt.connect(**rest)
    )
    readable, writable = os.pipe()

    def pump() -> None:
        while data := srt.receive(handle):
            while data:
                data = data[os.write(writable, data) :]
        os.close(writable)

    threading.Thread(target=pump, name="srt", daemon=True).start()
    return readable


def _head(piece: Piece) -> dict[str, Any]:
    return {
        "is": "packet",
        "v": piece.is_video,
        "pts": piece.pts,
        "dts": piece.dts,
        "for": piece.duration,
        "at": piece.arrived_ns,
        "key": piece.is_keyframe,
        "lost": piece.follows_loss,
    }


def _as_json(video: VideoInfo, *, is_live: bool) -> dict[str, Any]:
    return {
        "codec": video.codec,
        "size": [video.width, video.height],
        "fps": None if video.fps is None else [video.fps.numerator, video.fps.denominator],
        "color": asdict(video.color),
        "aspect": [video.sample_aspect.numerator, video.sample_aspect.denominator],
        "pix_fmt": video.pix_fmt,
        "notes": list(video.notes),
        "extradata": video.extradata.hex(),
        "is_live": is_live,
    }


def _sound_as_json(sound: Sound | None) -> dict[str, Any] | None:
    if sound is None:
        return None
    return {**asdict(sound), "extradata": sound.extradata.hex()}


if __name__ == "__main__":
    try:
        main()
    except Exception:  # noqa: BLE001 - it ends the run, and the parent keeps the last words
        traceback.print_exc()
    # Not through the interpreter's end: threads wait for the parent and for peers.
    os._exit(0)
