"""STUN and TURN servers as settings name them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import ConfigError
from streamer.ice import IceServer, parse_ice_servers
from streamer.settings_file import read_serve_settings

RELAY = {
    "url": "turn:turn.example.org:3478?transport=tcp",
    "username": "me",
    "credential": "secret",
}


def test_servers_are_read_from_the_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "ice_servers:\n"
        "  - stun:stun.example.org\n"
        "  - {url: 'turn:turn.example.org:3478?transport=tcp', username: me, credential: secret}\n"
    )
    settings = read_serve_settings(path)
    assert settings.ice_servers == (
        IceServer(url="stun:stun.example.org"),
        IceServer(**RELAY),
    )
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("stun:stun.example.org", "it is no list; write it as ['stun:"),
        ([5], "a server is no text, nor of texts"),
        ([{"url": 5}], "a server is no text, nor of texts"),
        ([{"urls": "stun:x"}], "unknown key 'urls'; the keys are: url, username, credential"),
        ([{"username": "me"}], "'' is no server"),
        (["http://stun.example.org"], "is no server; write it as stun:HOST:PORT"),
        (["stun://stun.example.org"], "is no server"),
        (["stuns:stun.example.org"], "is no server"),
        (["stun:stun.example.org:99999"], "is no server"),
        (["stun:stun.example.org:0"], "is no server"),
        (["stun:stun.example.org?transport=tcp"], "leave ?transport=tcp out"),
        ([{**RELAY, "url": "turns:turn.example.org?transport=udp"}], "leave ?transport=udp out"),
        (["turn:turn.example.org"], "needs a username and a credential, as in {url: 'turn:"),
        ([{**RELAY, "url": "stun:stun.example.org"}], "stun:stun.example.org takes none"),
        (["stun:one.example", "stun:two.example"], "more than one stun server"),
        ([RELAY, {**RELAY, "url": "turns:two.example"}], "more than one turn server"),
    ],
)
def test_what_is_no_server_is_refused_in_a_sentence(value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        parse_ice_servers(value)
    assert "secret" not in str(refused.value).replace("credential: secret", "")
