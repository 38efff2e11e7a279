"""What tokens cost: by the user's table of prices, or by the prices that the package genai-prices brings along."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from memollm._types.suggest import did_you_mean
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from memollm._spending.usage import Usage

MILLION: Final = 1_000_000
PAIR: Final = ("input", "output")
FIELDS: Final = (*PAIR, "cached", "cache_write")
EXAMPLE: Final = '{"gpt-5*": (1.25, 10.0)} or {"gpt-5*": {"input": 1.25, "output": 10.0, "cached": 0.125}}'
DATE: Final = re.compile(r"[-@]\d{4}-?\d\d-?\d\d$")
ROUTES: Final = frozenset({"models", "publishers", "litellm_proxy", "converse", "responses", "chat"})
"""Parts of a model's full name that say by which way it is reached, and neither provider nor model."""
BEDROCK: Final = re.compile(r"([a-z-]+\.)?[a-z0-9]+\.[a-z]")
"""How a name on Amazon Bedrock begins: a region that may be left out, the maker, the model."""
REMEMBERED: Final = 1_000
"""How many models' places in the package are remembered; a program uses a handful."""

Place = tuple[str, str | None]
"""A model's name, and its provider where it matters."""

_known: dict[str, Place | None] = {}
"""Where the package lists each model that was asked for."""


class Rate(NamedTuple):
    """Dollars for a million tokens of one model."""

    input: float
    output: float = 0.0
    cached: float | None = None
    cache_write: float | None = None
    """None where cached tokens cost what others do."""

    def of(self, usage: Usage) -> float:
        """Return what tokens cost at this rate."""
        read = self.input if self.cached is None else self.cached
        write = self.input if self.cache_write is None else self.cache_write
        cached, written, rest = _split(usage)
        dollars = rest * self.input + cached * read + written * write + usage.output_tokens * self.output
        return dollars / MILLION


def _split(usage: Usage) -> tuple[int, int, int]:
    """Part the input into what was read from the cache, what was written to it, and the rest."""
    cached = min(usage.cached_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - cached)
    return cached, written, usage.input_tokens - cached - written


def price(usage: Usage, table: Mapping[str, object] | None) -> float | None:
    """Return the dollars that a call cost: as it says itself, else by the user's table, else by genai-prices."""
    if usage.cost is not None:
        return usage.cost
    rate = None if table is None else _rate_of(usage.model or "", table)
    if rate is not None:
        return rate.of(usage)
    return None if usage.model is None else _listed_price(usage, usage.model)


# The user's table.


def _rate_of(model: str, table: Mapping[str, object]) -> Rate | None:
    """Look a model up: by its name, else by the longest pattern; with its provider and date, else without."""
    names = _names_of(model)
    key = next((name for name in names if name in table), None)
    if key is None:
        fitting = (key for key in table if any(fnmatchcase(name, key) for name in names))
        key = max(fitting, key=len, default=None)
    return None if key is None else _rate(table[key])


def _names_of(model: str) -> list[str]:
    """Return a model's name in full, then without its provider, then both without their date."""
    names = [model, *(model[at + 1 :] for at, letter in enumerate(model) if letter == "/")]
    return list(dict.fromkeys([*names, *(DATE.sub("", name) for name in names)]))


def _rate(entry: Any) -> Rate:
    return Rate(**entry) if isinstance(entry, Mapping) else Rate(*entry)


def require_table(where: str, table: object) -> Mapping[str, object]:
    """Return a table of prices, or refuse what is none; `where` says in the user's words where it was given."""
    if not isinstance(table, Mapping):
        raise OptionError(f"{where}={table!r}: it must map models to dollars per million tokens, as {EXAMPLE}.")
    for model, entry in cast("Mapping[object, object]", table).items():
        if not isinstance(model, str) or not model:
            raise OptionError(f"{where}: {model!r} must be the name of a model or a pattern, as in {EXAMPLE}.")
        _require_entry(f"{where}[{model!r}]", entry)
    return cast("Mapping[str, object]", table)


def _require_entry(where: str, entry: object) -> None:
    if isinstance(entry, Mapping):
        named = cast("Mapping[object, object]", entry)
        for field in named:
            if field not in FIELDS:
                raise OptionError(f"{where} has no price {field!r}{did_you_mean(str(field), FIELDS)}")
        if "input" not in named:
            raise OptionError(f"{where}={entry!r} does not say what input costs. Give 'input', as in {EXAMPLE}.")
        prices = list(named.items())
    elif isinstance(entry, list | tuple) and len(cast("list[object]", entry)) == len(PAIR):
        prices = list(zip(PAIR, cast("list[object]", entry), strict=True))
    else:
        raise OptionError(f"{where}={entry!r}: it must be the prices of input and output, as in {EXAMPLE}.")
    for field, dollars in prices:
        if isinstance(dollars, bool) or not isinstance(dollars, int | float) or not 0 <= dollars < math.inf:
            raise OptionError(f"{where}: {field}={dollars!r} must be dollars per million tokens, a number from 0 up.")


# The package genai-prices.


def load_library() -> None:
    """Import the package now, which takes its time."""
    _library()


@functools.cache
def _library() -> ModuleType | None:
    """Import the package; without it models have no price, which is no error."""
    try:
        import genai_prices
    except ImportError:
        return None
    return genai_prices


def _listed_price(usage: Usage, model: str) -> float | None:
    """Price tokens by the data that the package brings along; it fetches others only where the program tells it to."""
    library = _library()
    place = None if library is None else _place_of(model, library)
    if library is None or place is None:
        return None
    cached, written, _ = _split(usage)
    counted = library.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=cached,
        cache_write_tokens=written,
    )
    return float(_priced(library, counted, place))


def _place_of(model: str, library: ModuleType) -> Place | None:
    """Return where the package lists a model; found out once."""
    if model in _known:
        return _known[model]
    place = next((place for place in _places(model) if _lists(library, place)), None)
    if len(_known) < REMEMBERED:
        _known[model] = place
    return place


def _lists(library: ModuleType, place: Place) -> bool:
    try:
        _priced(library, library.Usage(), place)
    except LookupError:
        return False
    return True


def _priced(library: ModuleType, counted: object, place: Place) -> Any:
    name, provider = place
    return library.calc_price(counted, name, provider_id=provider).total_price


def _places(model: str) -> Iterator[Place]:
    """Give the names and providers under which a model may be listed.

    A provider that stands before the name is kept to: the same model costs something else elsewhere.
    """
    yield model, None
    provider, *rest = [part for part in model.split("/") if part not in ROUTES] or [model]
    if rest:
        yield "/".join(rest), provider
        yield rest[-1], provider
    elif provider != model:
        yield provider, None
    name = rest[-1] if rest and provider.startswith("arn:aws:bedrock:") else provider
    if BEDROCK.match(name) and (not rest or name is not provider):
        yield name, "aws"
    if not rest:
        # Embedding models, whose names say nothing of their maker.
        yield provider, "openai"
        yield provider, "cohere"
