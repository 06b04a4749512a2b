"""What players may load after what they loaded before, RFC 8216."""

from __future__ import annotations

from streamer.sinks.muxer_hls import following

APART = "#EXT-X-DISCONTINUITY"


def listed(*lines: str, longest_s: int = 2, first: int = 7) -> str:
    """As libav lists it; segments are lines without a sign."""
    head = ("#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{longest_s}")
    parts = [part for line in lines for part in ([line] if line[0] == "#" else [EXTINF, line])]
    return "\n".join([*head, f"#EXT-X-MEDIA-SEQUENCE:{first}", *parts, ""])


EXTINF = "#EXTINF:2.000000,"


def test_a_list_of_a_stream_without_breaks_stays_as_libav_makes_it() -> None:
    before, text = listed("a", "b", "c"), listed("b", "c", "d", first=8)
    assert following(before, "") == before
    assert following(text, before) == text


def test_the_target_duration_never_falls_again() -> None:
    before = listed("a", "b", longest_s=3)
    assert "#EXT-X-TARGETDURATION:3\n" in following(listed("b", "c", longest_s=2), before)
    assert "#EXT-X-TARGETDURATION:4\n" in following(listed("b", "c", longest_s=4), before)


def test_discontinuities_that_left_the_list_are_counted() -> None:
    shown, counted = "", []
    lists = (
        listed("a", "b"),
        # A run that goes on after a break, whose first segment says so.
        listed(APART, "c"),
        listed(APART, "c", "d"),
        listed("d", "e"),
        listed("d", "e"),
        # Another break: what was shown leaves at once.
        listed(APART, "f"),
        listed(APART, "g"),
        listed("h"),
    )
    for text in lists:
        shown = following(text, shown)
        found = [line for line in shown.splitlines() if "DISCONTINUITY-SEQUENCE" in line]
        counted.append(int(found[0].rpartition(":")[2]) if found else 0)
        assert shown.index("DISCONTINUITY-SEQUENCE" if found else EXTINF) <= shown.index(EXTINF)
    # Whoever adds up the ones that are listed gets the same number for the same segment.
    assert counted == [0, 0, 0, 1, 1, 1, 2, 3]
