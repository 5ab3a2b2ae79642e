"""Which frames a window gives, and when."""

from __future__ import annotations

from fractions import Fraction as F  # noqa: N817  (times are written in every line)

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto.clips import Window
from impasto.clips.window import Moment, nothing, picked, rounded
from impasto.errors import OptionError


def moments(*times: F, last: F = F(1, 10)) -> list[Moment]:
    ends = [*times[1:], times[-1] + last]
    return [Moment(time, end - time, nothing) for time, end in zip(times, ends, strict=True)]


def steady(count: int, rate: int) -> list[Moment]:
    return moments(*(F(number, rate) for number in range(count)), last=F(1, rate))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"start": F(-1)}, "start must be at least 0 seconds, not -1"),
        ({"end": F(-1)}, "end must be at least 0 seconds, not -1"),
        ({"start": F(2), "end": F(2)}, "end must be after the start of 2 s, not 2"),
        ({"end": F(0)}, "end must be after the start of 0 s, not 0"),
        ({"fps": F(0)}, "fps must be more than 0 and at most 1000 frames a second, not 0"),
        ({"fps": F(2000)}, "fps must be more than 0 and at most 1000 frames a second, not 2000"),
        ({"every": 0}, "every must be at least 1, not 0"),
    ],
)
def test_windows_that_make_no_sense(words: dict[str, F], problem: str) -> None:
    with pytest.raises(OptionError) as caught:
        Window(**words)  # type: ignore[arg-type]
    assert str(caught.value) == problem


def test_the_end_shortens_the_last_frame() -> None:
    found = list(picked(steady(10, 10), Window(start=F(15, 100), end=F(55, 100))))
    assert [pick.place for pick in found] == [2, 3, 4, 5]
    assert [pick.time for pick in found] == [F(0), F(1, 10), F(2, 10), F(3, 10)]
    assert found[-1].duration == F(5, 100)
    assert {pick.start for pick in found} == {F(2, 10)}


def test_one_of_many_stays_until_the_next() -> None:
    found = list(picked(steady(7, 10), Window(every=3)))
    assert [(pick.place, pick.duration) for pick in found] == [(0, F(3, 10)), (3, F(3, 10)), (6, F(1, 10))]


def test_times_in_milliseconds_neither_double_nor_drop_frames() -> None:
    milliseconds = moments(*(F(rounded(F(number * 1000, 30)), 1000) for number in range(60)), last=F(33, 1000))
    found = list(picked(milliseconds, Window(fps=F(30))))
    assert [pick.place for pick in found] == list(range(60))
    assert [pick.time for pick in found] == [F(number, 30) for number in range(60)]


def test_another_rate_repeats_and_drops() -> None:
    assert [pick.place for pick in picked(steady(4, 10), Window(fps=F(20)))] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [pick.place for pick in picked(steady(12, 24), Window(fps=F(12)))] == [0, 2, 4, 6, 8, 10]


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.integers(1, 90), st.integers(1, 4))
def test_a_rate_keeps_the_length(steps: list[int], fps: int, every: int) -> None:
    times = [F(sum(steps[:number]), 1000) for number in range(len(steps))]
    source = moments(*times, last=F(steps[-1], 1000))
    length = F(sum(steps), 1000)
    found = list(picked(source, Window(fps=F(fps), every=every)))
    total = sum((pick.duration for pick in found), F(0))
    assert total == max(F(1, fps), F(rounded(length * fps), fps))
    assert [pick.time for pick in found] == [F(number * every, fps) for number in range(len(found))]
    for pick in found:
        assert source[pick.place].time <= pick.time + F(1, 2 * fps)
