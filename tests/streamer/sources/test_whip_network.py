"""A publisher behind a bad network: delay, loss and packets that overtake each other."""

from __future__ import annotations

import re

from streamer.sources.whip import WhipDoor
from tests.impairment import CLEAR, Impairment, UdpProxy
from tests.streamer.server.watcher import until
from tests.streamer.sources.publishing import WAIT_S, door, published, publishing, run
from tests.streamer.sources.test_whip import Watch

CANDIDATE = re.compile(r"^(a=candidate:\S+ \d+ udp \d+) (\S+) (\d+) typ host$", re.MULTILINE)


async def answer_through(opened: WhipDoor, proxy: UdpProxy, offer_sdp: str) -> str:
    """The answer with the proxy's address in it, to an offer that names no address."""
    without_addresses = re.sub(r"a=candidate:[^\r\n]*\r\n", "", offer_sdp)
    answer_sdp = (await opened.answer(without_addresses)).answer_sdp.replace("\r\n", "\n")
    found = next(one for one in CANDIDATE.finditer(answer_sdp) if ":" not in one[2])
    proxy.target = (found[2], int(found[3]))
    host, port = proxy.address
    once = f"{found[1]} {host} {port} typ host"
    rest = CANDIDATE.sub("", answer_sdp.replace(found[0], "THE ONLY ONE"))
    lines = rest.replace("THE ONLY ONE", once).split("\n")
    return "\r\n".join(line for line in lines if line) + "\r\n"


def test_over_a_bad_line_second_attempts_bring_nearly_every_picture() -> None:
    async def scenario() -> None:
        async with door() as opened, UdpProxy(("127.0.0.1", 9), seed=3) as proxy:

            async def answer(offer_sdp: str) -> str:
                return await answer_through(opened, proxy, offer_sdp)

            async with publishing(answer, codec="H264", has_audio=True):
                source = await opened.source(timeout_s=WAIT_S)
                seen = Watch(source)
                await seen.see(3)
                proxy.impairments["to_target"] = Impairment(
                    loss=0.03, delay_ms=20, jitter_ms=5, reorder=0.02, reorder_by=2, duplicate=0.01
                )
                proxy.impairments["to_client"] = Impairment(delay_ms=20)
                await seen.see(90)
                while (numbers := opened.statistics()["video"])["repaired"] < 3:
                    await seen.see(10)
                assert numbers["lost"] <= numbers["repaired"]
                assert None not in seen.readings
                assert seen.frame_numbers == sorted(set(seen.frame_numbers))
                for packet in seen.packets:
                    assert packet.is_keyframe or not packet.follows_loss
                times = [packet.time_s for packet in seen.sounds]
                assert times == sorted(set(times))

    run(scenario())


def test_packets_lost_on_both_sides_of_the_wrap_are_asked_for_again() -> None:
    async def scenario() -> None:
        lost = (65_534, 65_535, 0, 1)
        async with (
            door() as opened,
            published(opened, codec="H264", first_sequence=65_400, loses=lost) as (source, _),
        ):
            seen = Watch(source)
            while (numbers := opened.statistics()["video"])["received"] < 400:
                await seen.see(5)
            assert numbers["repaired"] == len(lost)
            assert numbers["lost"] == 0
            assert seen.frame_numbers == sorted(set(seen.frame_numbers))
            assert not any(packet.follows_loss for packet in seen.packets)

    run(scenario())


def test_after_an_outage_the_picture_goes_on_with_a_keyframe_that_was_asked_for() -> None:
    async def scenario() -> None:
        async with door() as opened, UdpProxy(("127.0.0.1", 9)) as proxy:

            async def answer(offer_sdp: str) -> str:
                return await answer_through(opened, proxy, offer_sdp)

            async with publishing(answer, codec="H264", repairs=False):
                source = await opened.source(timeout_s=WAIT_S)
                seen = Watch(source)
                await seen.see(5)
                proxy.impairments["to_target"] = Impairment(loss=1.0)
                await until(lambda: proxy.done.of("to_target", "lost") > 20, "nothing was sent")
                proxy.impairments["to_target"] = CLEAR
                while not seen.packets[-1].follows_loss:
                    await seen.see(1)
                assert seen.packets[-1].is_keyframe
                assert opened.statistics()["keyframes_asked"] >= 1
                await seen.see(20)
                assert None not in seen.readings

    run(scenario())
