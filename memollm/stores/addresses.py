"""URLs of servers: what a URL says to us, what to the client, and what may be shown of it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from memollm._types.secret import masked_url
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

POOL: Final = 8
PATIENCE: Final = 20.0


class SaidByUrl(NamedTuple):
    """What a URL says."""

    shown: str
    """The URL without its password."""
    ours: Mapping[str, str]
    url: str
    """What is left of it for the client."""

    def refuse(self, reason: str) -> OptionError:
        """Say what of it cannot be meant."""
        return OptionError(f"cache={self.shown!r}: {reason}")

    def refuse_unread(self) -> OptionError:
        """Say that it is no URL, which a password makes it that is written as it is."""
        return self.refuse(
            "it cannot be read as a URL. If its password has characters such as @ / ? # : or %, write them "
            "percent-encoded, as urllib.parse.quote(password, safe='') does."
        )

    @property
    def pool(self) -> int:
        """How many connections a process has at most, besides the one that listens."""
        return int(self.number("pool", POOL, least=1))

    @property
    def patience(self) -> float:
        """Seconds for which a process tries to reach a server again that it has lost."""
        return self.number("patience", PATIENCE)

    def number(self, name: str, default: float, *, least: float = 0.0, most: float = 1e6) -> float:
        """Return what is given as a number."""
        value = self.ours.get(name)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not least <= number <= most:
            raise self.refuse(f"{name}={value!r} is not a number that it can be.")
        return number


def said_by_url(url: str, ours: Sequence[str]) -> SaidByUrl:
    """Read a URL, of whose parameters some are ours."""
    shown, parts = masked_url(url), urlsplit(url)
    if "@" in parts.path + parts.fragment or ("@" in parts.query and "=" not in parts.query.partition("@")[0]):
        # What stands before it was to be a password.
        raise SaidByUrl(shown, {}, url).refuse_unread()
    try:
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise OptionError(f"cache={shown!r}: the part after the question mark is not of the form name=value.") from None
    for name in ours:
        if [each for each, _ in given].count(name) > 1:
            raise OptionError(f"cache={shown!r}: {name}= stands there more than once. Say it once.")
    theirs = [(name, value) for name, value in given if name not in ours]
    left: Any = parts._replace(query=urlencode(theirs, quote_via=quote))
    # Where no host stands between them, two of the slashes are left out, and it is a URL no more.
    scheme, colon, rest = str(urlunsplit(left)).partition(":")
    whole = f"{scheme}{colon}{rest if rest.startswith('//') else '//' + rest}"
    return SaidByUrl(shown, {name: value for name, value in given if name in ours}, whole)


def unknown_parameter(name: str, known: Iterable[str]) -> str:
    """Say that a URL's parameter is none, and which may be meant."""
    near = get_close_matches(name, known, n=1)
    return f"there is no parameter {name}=." + (f" Did you mean {near[0]}=?" if near else "")
