"""What the rules for streams from outside leave to those that they allow."""

from __future__ import annotations

from streamer.addresses import AddressPolicy
from streamer.server.admission import Admission
from tests.streamer.server.many import serving_many, until_numbers
from tests.streamer.server.watcher import run


def test_a_device_is_opened_where_files_are_allowed() -> None:
    """It is no address, whatever addresses are allowed."""
    admission = Admission(policy=AddressPolicy(), allow_files=True)

    async def scenario() -> None:
        async with serving_many(admission=admission) as many:
            wanted = {"name": "webcam", "source": "device:/dev/no-such-camera", "to": ["null:"]}
            assert (await many.http.post("/api/streams", json=wanted)).status_code == 201
            failed = await until_numbers(many.http, "webcam", lambda one: one["state"] == "failed")
            assert failed["reason"].startswith("/dev/no-such-camera does not exist")

    run(scenario())
