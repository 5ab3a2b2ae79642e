"""Which photograph gets which style: compared with itertools, and random choices that must stay the same for ever."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from batches.folders import sources

from impasto.batches import Pairs
from impasto.errors import OptionError

PHOTOS, STYLES = sources(*(f"p{number:02}.jpg" for number in range(40))), sources(*"abcdefg")


def test_all_and_zip_are_those_of_itertools() -> None:
    assert set(Pairs().of(PHOTOS, STYLES)) == set(itertools.product(PHOTOS, STYLES))
    assert len(list(Pairs().of(PHOTOS, STYLES))) == len(PHOTOS) * len(STYLES)
    assert list(Pairs("zip").of(PHOTOS[:7], STYLES)) == list(zip(PHOTOS, STYLES, strict=False))


def test_items_of_a_style_come_together() -> None:
    for pairs in (Pairs(), Pairs("random", 3)):
        styles = [style for _, style in pairs.of(PHOTOS, STYLES)]
        assert [style for style, _ in itertools.groupby(styles)] == sorted(set(styles), key=lambda style: style.key)


@pytest.mark.parametrize("count", [1, 3, 7])
def test_random_pairs_are_different_styles_for_every_photograph(count: int) -> None:
    found = list(Pairs("random", count).of(PHOTOS, STYLES))
    assert len(set(found)) == len(found)
    assert Counter(photo for photo, _ in found) == dict.fromkeys(PHOTOS, count)


def test_random_pairs_do_not_depend_on_an_order_and_on_other_photographs() -> None:
    pairs, choose = Pairs("random", 2, seed=5), random.Random(0)
    expected = set(pairs.of(PHOTOS, STYLES))
    for _ in range(5):
        assert set(pairs.of(choose.sample(PHOTOS, 40), choose.sample(STYLES, 7))) == expected
    assert set(pairs.of(PHOTOS[::3], STYLES)) == {pair for pair in expected if pair[0] in PHOTOS[::3]}
    assert set(Pairs("random", 2, seed=6).of(PHOTOS, STYLES)) != expected


def test_random_pairs_stay_the_same_for_ever() -> None:
    """A release that draws others would have every random batch made again."""
    found = {photo.key: style.key for photo, style in Pairs("random", 1, seed=0).of(PHOTOS[:8], STYLES)}
    assert [found[photo.key] for photo in PHOTOS[:8]] == list("dcaabeae")


def test_all_styles_are_drawn_about_equally_often() -> None:
    many = sources(*(str(number) for number in range(7000)))
    drawn = Counter(style for _, style in Pairs("random", 1).of(many, STYLES))
    assert len(drawn) == 7
    assert all(850 < count < 1150 for count in drawn.values())  # 5 standard deviations


def test_what_does_not_fit_is_refused() -> None:
    for text in ("some", "random", "random:0", "random:-1", "random:1.5", "ALL"):
        with pytest.raises(OptionError, match=r"^pairs must be all, zip or random:N with a number from 1, not "):
            Pairs.parse(text)
    with pytest.raises(OptionError, match=r"^pairs draws 8 different styles, and there are 7$"):
        list(Pairs.parse("random:8").of(PHOTOS, STYLES))
    with pytest.raises(OptionError, match="zip needs as many styles as photographs, not 7 and 40"):
        list(Pairs.parse("zip").of(PHOTOS, STYLES))
