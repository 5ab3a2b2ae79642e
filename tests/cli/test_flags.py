"""Help and flags: they say what the options say, cost no torch, and list a dozen options or all of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from command_line import ROOT, Cli, Said, start
from rich.console import Console

import impasto
from impasto.catalog import OPTIONS
from impasto.cli import main
from impasto.cli.commands import app

FLAGS = {name: f"--{name.replace('_', '-')}" for name in OPTIONS}
WHOLE = ("size", "iterations", "seed", "max_pixels", "init_size")
WEIGHTS = ("content_weight", "style_weight", "palette_weight", "tv_weight")
NUMBERS = dict.fromkeys(WHOLE, "whole number") | dict.fromkeys(("strength", "style_scale", *WEIGHTS), "number")


@pytest.fixture
def help_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What `impasto WORDS` prints on a wide screen."""
    for short in (False, True):
        monkeypatch.setattr(app(short=short), "console", Console(width=400))  # the app keeps its first one, as wide as that was

    def run(*words: str) -> str:
        assert main(words) == 0
        return capsys.readouterr().out

    return run


def listed(text: str) -> set[str]:
    """The flags of a help page, without those that every page has."""
    rows = [line.strip("│ ") for line in text.splitlines()]
    return {name for row in rows if row.startswith("--") for name in re.findall(r"(?<!\S)--[a-z-]+", row.split("  ")[0])} - {
        "--help",
        "--version",
    }


@pytest.mark.parametrize("command", [(), ("demo",), ("again",)])
def test_help_lists_about_a_dozen_options_and_help_all_every_one(help_of: Callable[..., str], command: tuple[str, ...]) -> None:
    short, full = help_of(*command, "--help"), help_of(*command, "--help-all")
    common = {FLAGS[name] for name, option in OPTIONS.items() if option.common}
    few = listed(short)
    assert common <= few
    assert 10 <= len(few) <= 16
    assert few & set(FLAGS.values()) == common
    assert "`impasto --help-all` lists all options." in short
    assert "--help-all" not in full
    parsed = app()[command[0]] if command else app()
    arguments = [one for one in parsed.assemble_argument_collection() if one.name.startswith("--")]
    assert {*FLAGS.values(), "--no-metadata", "--keep-exif", "--preview", "--weights", "--content-mask"} <= listed(full)
    assert len(listed(full) - {"--style-taps"}) == len(arguments)
    assert all(one.parameter.help for one in arguments)


@pytest.mark.parametrize("name", NUMBERS)
def test_no_flag_takes_a_word_or_nan_for_a_number(cli: Cli, name: str) -> None:
    for words in ((FLAGS[name], "nan"), (f"{FLAGS[name]}=NaN",)):
        assert re.fullmatch(rf"{FLAGS[name]} must .*, not 'nan'", cli("a.png", "b.png", *words).line, re.IGNORECASE)
    said = cli("a.png", "b.png", FLAGS[name], "plenty")
    assert re.fullmatch(rf"{FLAGS[name]} must be a {NUMBERS[name]}.*, not 'plenty'", said.line)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("a.png b.png --content-weight 0 --style-weight 0 --palette-weight 0", "raise --content-weight, --style-weight or --p"),
        ("a.png b.png --method gattys", r"--method must be 'impasto' or 'gatys' \(did you mean 'gatys'\?\), not 'gattys'"),
        ("a.png b.png --stlye-weight 3", "--style-weight"),
        ("a.png b.png --no-metadata --keep-exif", "EXIF cannot be kept without metadata; drop --keep-exif"),
        ("a.png", "a photograph and a painting are needed: impasto PHOTO STYLE; see `impasto --help`"),
    ],
)
def test_errors_name_flags(cli: Cli, words: str, says: str) -> None:
    said = cli(*words.split())
    assert said.code == 2
    assert re.search(says, said.line), said.line


def test_no_words_is_help_and_the_version_is_told(cli: Cli) -> None:
    assert cli() == cli("--help")
    assert "Usage: impasto PHOTO STYLE..." in cli().stdout
    assert cli("--version") == Said(0, f"{impasto.__version__}\n", "")


def test_python_m_impasto_is_the_same_program() -> None:
    with start("-m", "impasto", "photo.png", "style.png", "--size", "7") as process:
        stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (2, "")
    assert stderr == "impasto: --size must be from 16 to 65535, or 'original', not '7'\n"
    assert 'impasto = "impasto.cli:main"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
@pytest.mark.parametrize("words", [("--help",), ("weights", "list"), ("a.png", "b.png", "--sise", "9", "--json")])
def test_a_reader_that_has_gone_is_no_traceback(words: tuple[str, ...]) -> None:
    """As in `impasto --help | head -c 0`."""
    reading, writing = os.pipe()
    os.close(reading)
    with start("-m", "impasto", *words, stdout=writing) as process:
        os.close(writing)
        stderr = process.communicate()[1]
    assert "Traceback" not in stderr
    assert "Exception ignored" not in stderr
    assert len(stderr.splitlines()) == ("--json" in words)
    assert process.returncode == 1 or ("--json" in words and process.returncode == 2)


def test_weights_list_and_path(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    said = cli("weights", "list")
    rows = {line.split()[0]: line for line in said.stdout.splitlines() if line.strip()}
    assert (said.code, said.stderr, list(rows)) == (0, "", ["name", "lite", "vgg16", "vgg19"])
    for name, words in (("lite", "comes with impasto"), ("lite", "in the package"), ("vgg16", "59 MB"), ("vgg19", "80 MB")):
        assert words in rows[name]
    assert "not here; impasto weights fetch vgg19" in rows["vgg19"]
    file = cli("weights", "path", "lite").stdout
    assert cli("weights", "fetch", "lite") == Said(0, file, "")  # weights that are here need no fetching
    monkeypatch.setenv("IMPASTO_HOME", "elsewhere")
    assert cli("weights", "path", "vgg19").stdout == f"{os.path.join('elsewhere', 'weights', 'vgg19.safetensors')}\n"  # noqa: PTH118
