"""Judge images by eye without knowing who made them: write sheets without names, then score the answers.

    python benchmarks/blind.py sheets PHOTOS PAINTINGS --ours NAME=DIR --peer NAME=DIR [--peer NAME=DIR ...] -o OUT --key FILE
        [--pairs PHOTO--PAINTING ...] [--seed 0] [--size 512]
    python benchmarks/blind.py score --key FILE ANSWERS ...

PHOTOS and PAINTINGS are folders. Each DIR contains images named PHOTO--PAINTING.png (or .jpg, .webp, .tif). By default all pairs are
shown of which ours and at least one peer have an image.

`sheets` writes OUT/01.png, OUT/02.png, ... in random order of the pairs: photograph and painting, and below them the candidates in
random order, labelled A, B, C. The key says which is which. It is written outside OUT, so that OUT can be given to a judge.

A judge writes a text file with one line for each sheet: its number, a colon, and the letters from best to worst. Words after a
semicolon, empty lines and lines that begin with # are ignored.

    07: B A C; A has a gray sky

`score` prints the ranks, and how often ours was preferred. A judge is called by the name of the file, without its suffix.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product, starmap
from pathlib import Path
from string import ascii_uppercase

from machine import ROOT
from pairs import Pair, named_folder, pictures_in
from PIL import Image

from impasto import files, pictures
from impasto.errors import ImpastoError

sys.path.append(str(ROOT / "scripts"))

from contact import contact_sheet, framed

LETTERS = ascii_uppercase
COLUMNS = 3  # candidates side by side, at most
ABOVE = 5 / 8  # height of photograph and painting, compared with the candidates'
FONT = 26  # pixels
ANSWER = re.compile(r"\s*(\d+)\s*:([^;]*)(;.*)?")
LIST = re.compile(r"\s*([A-Za-z]+|[A-Za-z](?:[\s,>]+[A-Za-z])*)\s*")  # BAC, B A C, B, A, C or B > A > C

Ranks = dict[int, dict[str, int]]  # {sheet: {name: rank}} by one judge; 1 is the best


@dataclass(frozen=True)
class Sheet:
    """names: of the candidates A, B, C, ... of a pair, in this order."""

    pair: str
    names: tuple[str, ...]

    @property
    def letters(self) -> dict[str, str]:
        """{letter: name}."""
        return dict(zip(LETTERS, self.names, strict=False))


@dataclass(frozen=True)
class Key:
    """Which pair each sheet shows, and who made its candidates. ours: the name of our own."""

    ours: str
    sheets: Mapping[int, Sheet]

    @property
    def peers(self) -> list[str]:
        """The names of the others, sorted."""
        return sorted({name for sheet in self.sheets.values() for name in sheet.names} - {self.ours})

    def number(self, sheet: int) -> str:
        """A sheet's number as it is written on it: all of them have the same length."""
        return f"{sheet:0{max(2, len(str(max(self.sheets))))}}"

    def to_json(self) -> str:
        """The key as text for `read_key`."""
        sheets = {self.number(n): {"pair": sheet.pair, "letters": sheet.letters} for n, sheet in self.sheets.items()}
        return json.dumps({"ours": self.ours, "sheets": sheets}, indent=1) + "\n"


def read_key(text: str) -> Key:
    """The key that `Key.to_json` wrote. Raises ValueError, KeyError, TypeError or AttributeError for other text."""
    found = json.loads(text)
    sheets = {int(number): Sheet(one["pair"], tuple(one["letters"].values())) for number, one in found["sheets"].items()}
    return Key(found["ours"], sheets)


# ------------------------------------------------------------------------------------------------------------------ sheets


def shuffled(candidates: Mapping[str, Iterable[str]], seed: int) -> dict[int, Sheet]:
    """Number the pairs from 1 in random order, and put the candidates of each in random order.

    candidates: {pair: names}. The result depends on the pairs, the names and the seed, not on their order.
    """
    chance = random.Random(seed)
    order = sorted(candidates)
    chance.shuffle(order)
    return {
        number: Sheet(pair, tuple(chance.sample(names := sorted(candidates[pair]), len(names))))
        for number, pair in enumerate(order, start=1)
    }


def candidates_of(
    pairs: Mapping[str, Pair], folders: Mapping[str, Path], ours: str, wanted: Sequence[str]
) -> dict[str, dict[str, Path]]:
    """{pair: {name: image}} of the pairs of which `ours` and at least one other folder have an image.

    wanted: names of pairs that must be among them, and the only ones; all if it is empty.
    """
    for name in wanted:
        if name not in pairs:
            sys.exit(f"no photograph and painting make the pair {name}")
    chosen = {}
    for name in wanted or pairs:
        images = {who: file for who, folder in folders.items() if (file := pairs[name].picture(folder))}
        if ours in images and len(images) > 1:
            chosen[name] = images
        elif wanted:
            sys.exit(f"{'no peer has an' if ours in images else f'{ours} has no'} image of the pair {name}")
    return chosen


def draw(number: str, photo: Image.Image, painting: Image.Image, candidates: Sequence[Image.Image], size: int) -> Image.Image:
    """A sheet: the candidates in one height, at most `size` pixels wide and high, below the smaller photograph and painting."""
    height = min(image.height * size // max(image.size) for image in candidates)
    below = [_of_height(image, height) for image in candidates]
    width = max(image.width for image in below)
    above = [_of_height(image, min(round(ABOVE * height), image.height * width // image.width)) for image in (photo, painting)]
    top = [framed(image, label, width, FONT) for image, label in zip(above, (number, ""), strict=True)]
    cells = [framed(image, letter, width, FONT) for image, letter in zip(below, LETTERS, strict=False)]
    columns = math.ceil(len(cells) / math.ceil(len(cells) / COLUMNS))
    return contact_sheet([top, *(cells[first : first + columns] for first in range(0, len(cells), columns))])


def _of_height(image: Image.Image, height: int) -> Image.Image:
    height = max(1, height)
    return image.resize((max(1, round(image.width * height / image.height)), height), Image.Resampling.LANCZOS)


def _read(file: Path) -> Image.Image:
    """An image as impasto reads it: upright, in sRGB, over white."""
    return pictures.to_image(pictures.load(file).over(1))


def write_sheets(arguments: argparse.Namespace) -> None:
    """Write the sheets and the key. All images are read first, so that one that cannot be read leaves no files."""
    output, key_file = arguments.output, arguments.key
    named = [arguments.ours, *arguments.peer]
    folders, (ours, _) = dict(named), arguments.ours
    if len(folders) < len(named):
        sys.exit("two folders have the same name")
    if len(folders) > len(LETTERS):
        sys.exit(f"at most {len(LETTERS)} folders can be compared")
    if key_file.resolve().is_relative_to(output.resolve()):
        sys.exit(f"the key {key_file} must not be in the folder of the sheets, {output}")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        sys.exit(f"{output} is not an empty folder; use another -o")
    pairs = {
        pair.name: pair for pair in starmap(Pair, product(pictures_in(arguments.photos), pictures_in(arguments.paintings)))
    }
    chosen = candidates_of(pairs, folders, ours, arguments.pairs)
    if not chosen:
        sys.exit(f"{ours} and the peers have no pair in common")
    key = Key(ours, shuffled(chosen, arguments.seed))
    files.check(key_file)
    drawn = {}
    for number, sheet in key.sheets.items():
        pair, images = pairs[sheet.pair], [_read(chosen[sheet.pair][name]) for name in sheet.names]
        drawn[key.number(number)] = draw(key.number(number), _read(pair.photo), _read(pair.painting), images, arguments.size)
    output.mkdir(parents=True, exist_ok=True)
    for name, image in drawn.items():
        image.save(output / f"{name}.png")
    files.write(key_file, key.to_json().encode())
    print(f"wrote {len(key.sheets)} sheets to {output} and the key to {key_file}")


# ------------------------------------------------------------------------------------------------------------------ answers


def read_answers(text: str, key: Key) -> tuple[Ranks, list[str]]:
    """The ranks of one judge, and a line for each mistake in the answers."""
    ranks: Ranks = {}
    mistakes = []
    for place, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = ANSWER.fullmatch(line)
        if not found:
            mistakes.append(f"line {place} is not NUMBER: LETTERS, but {line.strip()!r}")
        elif int(found[1]) not in key.sheets:
            mistakes.append(f"there is no sheet {found[1]}")
        elif (number := int(found[1])) in ranks:
            mistakes.append(f"sheet {key.number(number)} is answered twice")
        elif not LIST.fullmatch(found[2]):
            mistakes.append(f"sheet {key.number(number)}: {found[2].strip()!r} is not a list of letters; write words after a ;")
            ranks[number] = {}
        else:
            letters = re.sub(r"[\s,>]", "", found[2]).upper()
            names = key.sheets[number].letters
            mistakes += (f"sheet {key.number(number)} {mistake}" for mistake in _mistakes(letters, names))
            ranks[number] = {names[letter]: rank for rank, letter in enumerate(letters, start=1) if letter in names}
    missing = [key.number(number) for number in sorted(key.sheets) if number not in ranks]
    if missing:
        mistakes.append(f"no answer for {'sheet' if len(missing) == 1 else 'sheets'} {', '.join(missing)}")
    return ranks, mistakes


def _mistakes(letters: str, names: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the letters of one answer. names: by letter."""
    for letter in sorted(set(letters) - set(names)):
        yield f"has no candidate {letter}"
    for letter in sorted({letter for letter in letters if letters.count(letter) > 1}):
        yield f"names {letter} more than once"
    for letter in names:
        if letter not in letters:
            yield f"has no rank for {letter}"


def preferred(ranks: Mapping[str, int], ours: str, others: Iterable[str]) -> bool:
    """Whether ours has a better rank than all others that are on the sheet. ranks: by name."""
    return all(ranks[ours] < ranks[name] for name in others if name in ranks)


def rank_table(key: Key, judges: Mapping[str, Ranks]) -> Iterator[str]:
    """Yield the lines of a Markdown table: for each pair and name the rank by each judge."""
    names = [key.ours, *key.peers]
    yield f"| pair | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for number, sheet in sorted(key.sheets.items(), key=lambda item: item[1].pair):
        cells = (" ".join(str(ranks[number][name]) for ranks in judges.values() if name in ranks[number]) for name in names)
        yield f"| {sheet.pair} | {' | '.join(cells)} |"


def total_table(key: Key, judges: Mapping[str, Ranks]) -> Iterator[str]:
    """Yield the lines of a Markdown table: for how many pairs every judge, and each judge, preferred ours."""
    yield f"| {key.ours} preferred over | every judge | {' | '.join(judges)} |"
    yield f"|---|---:|{'---:|' * len(judges)}"
    for title, others in (("all peers", key.peers), *((peer, [peer]) for peer in key.peers)):
        numbers = [number for number, sheet in key.sheets.items() if set(others) & set(sheet.names)]
        wins = [{number for number in numbers if preferred(ranks[number], key.ours, others)} for ranks in judges.values()]
        cells = (f"{len(won)} of {len(numbers)}" for won in (set.intersection(*wins), *wins))
        yield f"| {title} | {' | '.join(cells)} |"


def score(arguments: argparse.Namespace) -> None:
    """Read the key and the answers, and print the tables."""
    try:
        key = read_key(_text(arguments.key))
    except (ValueError, KeyError, TypeError, AttributeError):
        sys.exit(f"{arguments.key} is not a key that `blind.py sheets` wrote")
    judges: dict[str, Ranks] = {}
    mistakes = []
    for file in arguments.answers:
        if file.stem in judges:
            mistakes.append(f"{file}: another file has the same name, {file.stem}")
        judges[file.stem], wrong = read_answers(_text(file), key)
        mistakes += (f"{file}: {mistake}" for mistake in wrong)
    if mistakes:
        sys.exit("\n".join(mistakes))
    print(f"Ranks by {', '.join(judges)}{', in this order' if len(judges) > 1 else ''}. 1 is the best.\n")
    print("\n".join((*rank_table(key, judges), "", *total_table(key, judges))))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        sys.exit(f"{file}: {files.reason(error)}")


# ------------------------------------------------------------------------------------------------------------------ arguments


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="sheets|score")
    sheets = commands.add_parser("sheets", help="write sheets and their key")
    sheets.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of the photographs")
    sheets.add_argument("paintings", type=Path, metavar="PAINTINGS", help="folder of the paintings")
    sheets.add_argument("--ours", type=named_folder, required=True, metavar="NAME=DIR")
    sheets.add_argument("--peer", action="append", type=named_folder, required=True, metavar="NAME=DIR")
    sheets.add_argument("--pairs", nargs="+", default=[], metavar="PHOTO--PAINTING", help="default: all that can be compared")
    sheets.add_argument("--seed", type=int, default=0, help="of the random order (default: %(default)s)")
    sheets.add_argument("--size", type=int, default=512, help="longer side of candidates in pixels (default: %(default)s)")
    sheets.add_argument("-o", "--output", type=Path, required=True, help="folder for the sheets; new or empty")
    sheets.add_argument("--key", type=Path, required=True, help="file for the key, outside that folder")
    sheets.set_defaults(run=write_sheets)
    scoring = commands.add_parser("score", help="score answers")
    scoring.add_argument("--key", type=Path, required=True)
    scoring.add_argument("answers", nargs="+", type=Path, metavar="ANSWERS")
    scoring.set_defaults(run=score)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except ImpastoError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
