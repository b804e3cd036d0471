"""What a system under test supplied, made safe for where it is shown: a line of text, XML, Markdown, a workflow command."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

LONGEST: Final = 500  # characters of one text on a line
# What Markdown, HTML, a mention or an automatic link could be made of.
_ACTIVE: Final = re.compile(r"[\\`*_{}\[\]<>&|~#!@$]|(?<=[hH][tT][tT][pP])s?:|(?<=[wW]{3})\.")


def plain(text: str) -> str:
    r"""One line of visible characters: controls, line ends, marks that turn the direction, and half characters become \u escapes."""
    shown = "".join(_visible(letter) for letter in text)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def _visible(letter: str) -> str:
    category = unicodedata.category(letter)
    if letter in "\r\n\t" or category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(letter, f"\\u{ord(letter):04x}")
    return letter


def markdown(text: str) -> str:
    """Text in a cell of a Markdown table or a list item: nothing in it is markup, a link, a mention or HTML."""
    return _ACTIVE.sub(lambda found: "".join(f"&#{ord(letter)};" for letter in found[0]), plain(text))


def command_data(text: str) -> str:
    """The message of a GitHub workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_property(text: str) -> str:
    """A property of a GitHub workflow command, such as its title."""
    return command_data(text).replace(":", "%3A").replace(",", "%2C")
