"""What our publisher takes hold of in aiortc is still there."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from aioice import Connection
from aiortc import RTCPeerConnection, RTCRtpReceiver
from aiortc.rtcdtlstransport import RTCDtlsTransport


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (RTCDtlsTransport._handle_rtp_data, "await receiver._handle_rtp_packet("),
        (RTCDtlsTransport._handle_rtcp_data, "await recipient._handle_rtcp_packet("),
        (RTCDtlsTransport.start, "self.__local_certificate._create_ssl_context("),
        (RTCRtpReceiver.receive, "self.__transport._register_rtp_receiver(self, parameters)"),
        (Connection.connect, "asyncio.create_task(self.query_consent())"),
        # Nothing of the decoder is ours to stop, since ``receive`` never started it.
        (RTCRtpReceiver.stop, "if self.__started:"),
    ],
)
def test_aiortc_looks_up_what_an_instance_may_replace(
    function: Callable[..., Any], line: str
) -> None:
    assert line in inspect.getsource(function)


def test_aiortc_begins_to_receive_through_the_receiver_itself() -> None:
    connect = RTCPeerConnection._RTCPeerConnection__connect  # type: ignore[attr-defined]
    assert "await transceiver.receiver.receive(" in inspect.getsource(connect)
