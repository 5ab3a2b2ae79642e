"""Messages as people read them in the studio: whole sentences, options without underscores."""

from __future__ import annotations

import re
from pathlib import Path

from impasto.errors import ImpastoError
from impasto.files import one_line, printable

LONGEST = 400  # characters


def sentence(message: str | ImpastoError) -> str:
    """A message with a capital letter and a full stop, in one line. The options that an error names are written with spaces."""
    text = message.worded(lambda option: option.replace("_", " ")) if isinstance(message, ImpastoError) else message
    text = one_line(text) if len(text) > LONGEST else " ".join(text.split())
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")


def without_paths(text: str, root: Path) -> str:
    """A message that says nothing about where the files of the data directory are on the server, and of no command for them."""
    path = re.escape(printable(root)) + r"/[^\s:,;'\"]*"
    text = re.sub(rf"(?<=\w) {path}: (?=is |has )", " ", text)  # "clip PATH: is not a video"
    text = re.sub(rf"(?<=\w) {path}(?=:)", "", text)  # "photograph PATH: no such file"
    return re.sub("`impasto resume [^`]*` resumes it", "retry it", re.sub(path, "the file", text))
