from __future__ import annotations

from fractions import Fraction

import pytest

from streamer.errors import ConfigError
from streamer.rate import Rate, parse_rate


@pytest.mark.parametrize(
    ("text", "fps"),
    [
        ("60", Fraction(60)),
        ("1", Fraction(1)),
        ("240", Fraction(240)),
        ("12.5", Fraction(25, 2)),
        ("60000/1001", Fraction(60000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        ("47.95", Fraction(48000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("119.88", Fraction(120000, 1001)),
        ("59.9", Fraction(599, 10)),
        ("30.00", Fraction(30)),
    ],
)
def test_a_fixed_rate_is_exact_and_knows_the_ntsc_forms(text: str, fps: Fraction) -> None:
    assert parse_rate(text) == Rate(fps=fps)


@pytest.mark.parametrize("times", range(2, 9))
def test_a_multiple_is_written_with_an_x(times: int) -> None:
    assert parse_rate(f"x{times}") == Rate(times=times)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.5", "240.1", "241", "x1", "x9", "x2.5", "2x", "-30", "+30", "1e2", "60/0", "nan"],
)
def test_what_is_no_rate_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigError, match=r"1 to 240 as in 60, 59\.94 or 60000/1001, or x2 to x8"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["30 ", "60,0", ".5", "60.", "٣٠", "1/2/3", "9" * 400])
def test_what_python_might_read_as_a_number_is_refused_as_well(text: str) -> None:
    with pytest.raises(ConfigError, match="is not possible"):
        parse_rate(text)


def test_a_rate_made_by_hand_is_checked_as_well() -> None:
    for wrong in ({}, {"fps": Fraction(30), "times": 2}, {"fps": Fraction(1, 2)}, {"times": 9}):
        with pytest.raises(ConfigError):
            Rate(**wrong)


@pytest.mark.parametrize("text", ["60", "60000/1001", "25/2", "x2"])
def test_a_rate_is_shown_as_it_can_be_written(text: str) -> None:
    assert str(parse_rate(text)) == text
    assert parse_rate(str(parse_rate(text))) == parse_rate(text)
