"""What gates read word by word: quotations, and code."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from memollm._similar.spelling import without_dots

if TYPE_CHECKING:
    from collections.abc import Hashable

_QUOTED: Final = re.compile(
    r"\"([^\"]{1,2000})\"|“([^“”]+)”|„([^„“”]+)[“”]|«([^«»]+)»|‘([^‘’]+)’|(?<!\w)'([^'\n]+)'(?!\w)|"
    r"»([^«»]+)«|”([^“”]+)”|‚([^‚‘’]+)[‘’]|‹([^‹›]+)›|›([^‹›]+)‹|「([^「」]+)」|『([^『』]+)』"  # noqa: RUF001 - quotation marks
)
# Lengths are bounded, so that no text makes a pattern go over it again and again.
_CODE: Final = re.compile(
    r"```.*?```|`[^`\n]+`|https?://[^\s)>\]]+|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}\.[\w.]{1,64}|"
    r"\b[A-Za-z]:\\[\w\\.~-]*|(?<![\w@#])[@#][A-Za-z_]\w*|[~.]{0,2}/[\w.~-]+(?:/[\w.~-]+)*|\b[A-Za-z_]\w{0,60}(?:\.\w{1,60}){0,6}\([^)\n]{0,200}\)|\b\w*_\w+\b|"
    r"\b[a-z]+(?:[A-Z][a-z0-9]+)+\b|\b[A-Za-z_][\w-]{0,60}(?:\.[A-Za-z_]\w{0,60})+\b|\[[^\]\s]{1,60}\]|(?<!\S)!(?=\w)|\b0x[0-9a-f]+\b|"
    r"(?<!\w)--?[A-Za-z][\w-]*|[=!<>]=|=>|->|&&|\|\||[<>^*+/%=](?=\s*[\w(])",
    re.DOTALL,
)


_SIGNS: Final = re.compile(r"(?<!\w)[A-Za-z](?:\+\+|#)|[≥≤≠≈√∈∉∩∪±∞∑∏∫∂∇]|>=|<=|!=|==")  # noqa: RUF001 - signs
_ERAS: Final = re.compile(r"(?<=\d)\s*\b(bce?|ad|ce)\b")


def quotations(text: str) -> Hashable:
    """Return what stands in quotation marks."""
    return tuple("".join(filter(None, found)).strip() for found in _QUOTED.findall(unicodedata.normalize("NFKC", text)))


def code(text: str) -> Hashable:
    """Return code, paths, URLs, signs, and the era of years."""
    text = without_dots(text)
    return tuple(_CODE.findall(text)), tuple(_SIGNS.findall(text)), tuple(_ERAS.findall(text.casefold()))
