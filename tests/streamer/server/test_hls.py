"""HLS over HTTP: read by ffprobe while it is written, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from streamer.server.bounds import HeadAsGet
from streamer.server.hls import hls_routes
from streamer.server.run import Server
from streamer.sinks.hls import HlsSink
from tests.programs import needs
from tests.streamer.server.watcher import run
from tests.streamer.sinks.network_peers import G711, Camera, Peer

RUN = "0123abcd"


def served(folder: Path) -> FastAPI:
    app = FastAPI()
    app.include_router(hls_routes(lambda name: folder if name == "gate" else None))
    app.add_middleware(HeadAsGet)
    return app


def filled(folder: Path) -> Path:
    live = folder / "live"
    live.mkdir()
    (live / "index.m3u8").write_text("#EXTM3U\n")
    (live / f"init-{RUN}.mp4").write_bytes(b"init")
    (live / f"seg-{RUN}-1.m4s").write_bytes(b"segment")
    (live / "notes.txt").write_text("private")
    (folder / "secret.mp4").write_text("private")
    (live / "link.mp4").symlink_to(folder / "secret.mp4")
    (live / "folder.mp4").mkdir()
    return live


def test_the_schema_names_every_route_once(recwarn: pytest.WarningsRecorder) -> None:
    schema = served(Path()).openapi()
    assert list(schema["paths"]["/hls/{name}/{file}"]) == ["get"]
    assert not list(recwarn)


def test_each_file_has_its_type_and_its_age(tmp_path: Path) -> None:
    live = filled(tmp_path)

    async def scenario() -> None:
        async with (
            Server(served(live), port=0) as server,
            httpx.AsyncClient(base_url=f"{server.url}hls/gate", timeout=60) as http,
        ):
            playlist = await http.get("/index.m3u8")
            assert playlist.text == "#EXTM3U\n"
            assert playlist.headers["content-type"] == "application/vnd.apple.mpegurl"
            assert playlist.headers["cache-control"] == "no-cache"
            init = await http.get(f"/init-{RUN}.mp4")
            assert (init.content, init.headers["content-type"]) == (b"init", "video/mp4")
            segment = await http.get(f"/seg-{RUN}-1.m4s")
            assert segment.content == b"segment"
            assert segment.headers["content-type"] == "video/iso.segment"
            # Whoever has no token must not get it from a cache on the way (RFC 9111, 3.5).
            assert segment.headers["cache-control"] == "private, max-age=3600, immutable"
            head = await http.head(f"/seg-{RUN}-1.m4s")
            assert (head.content, head.headers["content-length"]) == (b"", "7")

    run(scenario())


def test_nothing_but_the_outputs_files_is_served(tmp_path: Path) -> None:
    live = filled(tmp_path)
    refused = [
        "/hls/gate/notes.txt",
        "/hls/gate/link.mp4",
        "/hls/gate/folder.mp4",
        "/hls/gate/seg-0-2.m4s",
        "/hls/gate/..%2fsecret.mp4",
        "/hls/gate/%2e%2e%2fsecret.mp4",
        "/hls/gate/..%5csecret.mp4",
        "/hls/gate/%2fetc%2fpasswd",
        "/hls/gate/index.m3u8%00.mp4",
        "/hls/gate/index.m3u8%0a",
        "/hls/gate/",
        "/hls/other/index.m3u8",
        "/hls/..%2flive/index.m3u8",
    ]

    async def scenario() -> None:
        async with (
            Server(served(live), port=0) as server,
            httpx.AsyncClient(base_url=server.url, timeout=60) as http,
        ):
            for path in refused:
                answer = await http.get(path)
                assert answer.status_code == 404, path
                assert "private" not in answer.text
            (live / "index.m3u8").unlink()
            early = await http.get("/hls/gate/index.m3u8")
            assert (early.status_code, early.headers["retry-after"]) == (404, "2")

    run(scenario())


@needs("ffmpeg")
def test_a_player_follows_a_stream_while_it_is_written(tmp_path: Path) -> None:
    async def scenario() -> None:
        camera = Camera(with_sound=True)
        sink = HlsSink(
            str(tmp_path),
            audio=G711,
            clock=camera.clock,
            metrics=camera.metrics,
            request_keyframe=camera.request_keyframe,
            segment_s=0.5,
        )
        async with Server(served(tmp_path), port=0) as server:
            playlist = tmp_path / "index.m3u8"
            await camera.film(sink, lambda: playlist.exists())
            with Peer.ffmpeg("-i", f"{server.url}hls/gate/index.m3u8") as player:
                # It got more than was in the first playlist: it reads the list again and again.
                await camera.film(sink, lambda: player.count(0) > 90 and player.count(1) > 90)
                assert player.packets[0].is_keyframe
                assert player.times(0) == sorted(set(player.times(0)))
            await sink.close()

    asyncio.run(asyncio.wait_for(scenario(), 180))
