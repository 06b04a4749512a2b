"""Limits of the sources that a slow machine does not reach; tests of a limit set their own."""

from __future__ import annotations

import pytest

PATIENT_S = 60.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (
        "streamer.sources.network.OPEN_WITHIN_S",
        "streamer.sources.network.PACKET_WITHIN_S",
        "streamer.sources.network.KEYFRAME_WITHIN_S",
        "streamer.sources.rtc_publisher.SILENT_S",
        "streamer.sources.rtc_publisher.PICTURE_WITHIN_S",
    ):
        monkeypatch.setattr(limit, PATIENT_S)
