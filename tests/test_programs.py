from __future__ import annotations

import pytest

from tests.programs import needs, output_of


def test_a_missing_program_skips_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("STREAMER_REQUIRE_PROGRAMS", raising=False)
    mark = needs("ffmpeg")
    assert mark.args == (True,)
    assert mark.kwargs["reason"] == "needs ffmpeg: apt-get install ffmpeg"


def test_a_missing_program_fails_where_it_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("STREAMER_REQUIRE_PROGRAMS", "1")
    assert needs("ffmpeg").args == (False,)
    with pytest.raises(pytest.fail.Exception, match="needs ffmpeg: apt-get install ffmpeg"):
        output_of("ffmpeg", "-version")
