"""Errors: one tree, exit codes, the user's own words left alone, options spelled by the front end, fit for another process."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from impasto import errors
from impasto.cli.console import worded
from impasto.errors import DivergenceError, ImpastoError, OptionError, RunError, UnknownNameError, UsageError

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ImpastoError)]


def example(kind: type[ImpastoError]) -> ImpastoError:
    if kind is UnknownNameError:
        return UnknownNameError("encoder", "vgg91", ["vgg16", "vgg19"])
    return kind("must be at least 0, not 'style_weight'", option="style_weight", remedy="raise {tv_weight}")


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_drawn_tree_and_survives_pickling(kind: type[ImpastoError]) -> None:
    assert re.search(rf"\b{kind.__name__} .*", errors.__doc__ or "")
    if kind is not ImpastoError:
        assert kind.exit_code == (2 if issubclass(kind, UsageError) else 1)
        assert issubclass(kind, ValueError if issubclass(kind, UsageError) else RunError)
    error = example(kind)
    error.add_note("from a worker") if hasattr(error, "add_note") else None
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__dict__) == (kind, str(error), error.__dict__)


def test_only_options_are_spelled_as_flags() -> None:
    error = OptionError(
        "must be MASK=STYLE, not 'my-size-mask {size}_style_weight.png'", option="mask", remedy="see {max_pixels}"
    )
    assert str(error) == "mask must be MASK=STYLE, not 'my-size-mask {size}_style_weight.png'; see max_pixels"
    assert worded(error) == "--mask must be MASK=STYLE, not 'my-size-mask {size}_style_weight.png'; see --max-pixels"


@pytest.mark.parametrize(
    ("name", "says"), [("vgg91", "did you mean 'vgg19'?"), ("resnet", "known: vgg16, vgg19"), ("", "known: vgg16, vgg19")]
)
def test_an_unknown_name_is_helped(name: str, says: str) -> None:
    assert str(UnknownNameError("encoder", name, ["vgg16", "vgg19"])) == f"unknown encoder {name!r}; {says}"


@pytest.mark.parametrize(
    ("loss", "option"),
    [("content", "content_weight"), ("style", "style_weight"), ("palette", "palette_weight"), ("variation", "tv_weight")],
)
def test_a_diverged_loss_names_its_own_weight(loss: str, option: str) -> None:
    import torch

    from impasto.optimize import minimize

    start = torch.zeros(1, 3, 4, 4)
    for value, gradient in ((float("inf"), start), (7.0, start / 0)):
        with pytest.raises(DivergenceError, match=f"^the {loss} loss diverged at step 1 .*; try a smaller {option}$"):
            list(minimize(lambda image, v=value, g=gradient: ({"other": 1.0, loss: v}, g), start, 3))  # type: ignore[misc]
