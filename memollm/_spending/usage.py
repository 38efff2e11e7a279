"""Tokens and cost of a call, found in what the user's function returned."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from memollm._spending.shapes import PLAIN, TOKENS, at, counts_in, field, number_of, text_of
from memollm._types.public import public
from memollm._types.suggest import did_you_mean
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from memollm._spending.shapes import TokenCounts

FIRST: Final = 16
LAST: Final = 2_000
"""How many chunks of a long stream are looked at: providers tell usage in the first ones and in the last."""
HELD: Final = 32
"""How many values of a mapping or object are looked into."""


@public
class Usage(NamedTuple):
    """Tokens and cost of a call."""

    input_tokens: int = 0
    """All input, also what came from the provider's cache or was written to it."""
    output_tokens: int = 0
    """All output, also what the model thought and did not show."""
    cost: float | None = None
    """Dollars, where the provider or the user says so."""
    model: str | None = None
    """The model's name, by which tokens are priced."""
    cached_tokens: int = 0
    """Input that the provider read from its cache."""
    cache_write_tokens: int = 0
    """Input that the provider wrote to its cache."""

    def __add__(self, other: Usage) -> Usage:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """Add tokens and cost; the model stays where both name the same."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            other.cost if self.cost is None else self.cost + (other.cost or 0.0),
            self.model if self.model == other.model else None,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
        )


# One result or chunk.

SOURCES: Final = ("usage", "usage_metadata", "usageMetadata", "token_usage", "meta")
"""Where a result holds its counts; Cohere's first interface holds them in its `meta`."""
HOLDERS: Final = ("response_metadata", "llm_output")
"""Where LangChain holds what the provider said."""
COHERE: Final = ("billed_units", "tokens")
MODELS: Final = ("model", "model_version", "modelVersion", "model_name", "model_id")
IDS: Final = ("id", "response_id", "responseId")


def _model_of(thing: Any) -> str | None:
    for holder in (thing, *(field(thing, name) for name in HOLDERS)):
        model = None if type(holder) in PLAIN else text_of(holder, MODELS)
        if model is not None:
            return model
    return None


def _cost_in(source: Any) -> float | None:
    """Return the dollars that a provider's usage tells."""
    cost = field(source, "cost")
    told = number_of(cost if type(cost) in PLAIN else field(cost, "total_cost"))
    if told is not None and field(source, "is_byok") is True:
        # With the user's own key OpenRouter's cost is its fee alone.
        told += number_of(at(source, "cost_details.upstream_inference_cost")) or 0.0
    return None if told is None else float(told)


class Reading(NamedTuple):
    """What one result or chunk shows."""

    usage: Usage
    source: Any
    """What holds the counts: it may be reached in two ways and counts once."""
    answer: str | None
    """The answer that it is about: chunks of one answer tell the same counts as they grow."""
    goes_on: bool
    """Whether it is about the answer before it, if it names none."""


def _usage(counts: TokenCounts | None) -> Usage:
    if counts is None:
        return Usage()
    return Usage(counts.input, counts.output, cached_tokens=counts.cached, cache_write_tokens=counts.written)


def _sources(thing: Any) -> Iterator[tuple[str, Any]]:
    for holder in (thing, *(field(thing, name) for name in HOLDERS)):
        if type(holder) in PLAIN:
            continue
        for name in SOURCES:
            source = field(holder, name)
            if type(source) in PLAIN:
                continue
            yield name, source
            yield from ((name, inner) for key in COHERE if type(inner := field(source, key)) not in PLAIN)


def _read(thing: Any) -> Reading | None:
    """Read what a result or chunk says of itself."""
    if issubclass(type(thing), Usage):
        return Reading(thing, thing, None, goes_on=False)
    cost = number_of(at(thing, "_hidden_params.response_cost"))
    found, where, told_by = None, "", None
    for name, source in _sources(thing):
        cost = _cost_in(source) if cost is None else cost
        if found is None and (found := counts_in(source)) is not None:
            where, told_by = name, source
    if found is None and (found := counts_in(thing, surely=True)) is not None:
        cost, told_by = _cost_in(thing) if cost is None else cost, thing
    if found is None and cost is None:
        return None
    shape = None if found is None else found.shape
    usage = _usage(found)._replace(cost=None if cost is None else float(cost), model=_model_of(thing))
    # LangChain's chunks tell what each adds, under an identifier that they share.
    adds = where == "usage_metadata" and shape is TOKENS
    goes_on = (shape is not None and shape.is_cumulative) or field(thing, "type") == "message_delta"
    return Reading(usage, told_by, None if adds else text_of(thing, IDS), goes_on)


def _held(thing: Any) -> list[Any]:
    """Return what a result holds and may show usage, one level deep and without the lists."""
    try:
        values = islice(_values(thing), HELD)
        return [value for value in values if type(value) not in PLAIN and not _is_list(value)]
    except Exception:  # noqa: BLE001 - a foreign object may raise anything, and what stands beside it still counts
        return []


def _values(thing: Any) -> Any:
    if issubclass(type(thing), Mapping):
        return thing.values()
    if fields := getattr(thing, "__dict__", None):
        return fields.values()
    slots: Iterable[str] = getattr(type(thing), "__slots__", ())  # pyright: ignore[reportUnknownArgumentType]
    return (field(thing, name) for name in slots)


def _readings(thing: Any) -> list[Reading]:
    """Read a result, or what it holds if it shows nothing itself; of what it holds it may also have its model."""
    own = _read(thing)
    if own is None:
        return [read._replace(goes_on=False) for held in _held(thing) if (read := _read(held)) is not None]
    if own.usage.model is None and own.source is not thing:
        model = next((model for held in _held(thing) if (model := _model_of(held)) is not None), None)
        own = own._replace(usage=own.usage._replace(model=model))
    return [own]


# Many results, or the chunks of a stream.


def _is_list(thing: Any) -> bool:
    return issubclass(type(thing), (list, tuple)) and not issubclass(type(thing), Usage)


def _of_parts(parts: Sequence[Any]) -> Usage | None:
    """Add up what parts show."""
    answers = usages_of(read for part in parts if type(part) not in PLAIN for read in _readings(part))
    if not answers:
        return None
    total = functools.reduce(operator.add, answers)
    models = {usage.model for usage in answers} - {None}
    if total.model is None and len(models) <= 1:
        # A stream may name its model in one chunk and count in others.
        total = total._replace(model=next(iter(models), None) or next(filter(None, map(_model_of, parts)), None))
    return total


def usages_of(readings: Iterable[Reading]) -> list[Usage]:
    """Return the usage of each answer; chunks of one answer are merged, as what they tell grows."""
    answers: dict[object, Usage] = {}
    seen: dict[int, Any] = {}
    last: object = None
    for read in readings:
        if id(read.source) in seen and read.source is not None:
            continue
        seen[id(read.source)] = read.source
        if read.answer is not None:
            last = read.answer
        elif not read.goes_on or last is None:
            last = object()
        answers[last] = _larger(answers[last], read.usage) if last in answers else read.usage
    return list(answers.values())


def _larger(one: Usage, other: Usage) -> Usage:
    """Return the larger counts of two chunks: they only ever grow, and later ones may leave some out."""
    costs = [usage.cost for usage in (one, other) if usage.cost is not None]
    return Usage(
        max(one.input_tokens, other.input_tokens),
        max(one.output_tokens, other.output_tokens),
        max(costs, default=None),
        one.model or other.model,
        max(one.cached_tokens, other.cached_tokens),
        max(one.cache_write_tokens, other.cache_write_tokens),
    )


def _find(result: Any, *, may_be_many: bool) -> Usage | None:
    if type(result) in PLAIN:
        return None
    try:
        if not _is_list(result):
            return _of_parts((result,))
        if type(result) not in {list, tuple} and (read := _read(result)) is not None:
            return read.usage
        # A vector or a list of texts shows at both ends that there is nothing to look for.
        if not may_be_many or not result or (type(result[0]) in PLAIN and type(result[-1]) in PLAIN):
            return None
        return _of_parts(result if len(result) <= FIRST + LAST else [*result[:FIRST], *result[-LAST:]])
    except Exception:  # noqa: BLE001 - a foreign object may raise anywhere, and an answer is never lost for it
        return None


def find_usage(result: object) -> Usage | None:
    """Find tokens, cost and model in a result, as the common providers and libraries tell them; never raises.

    A list is the chunks of a stream, or results that add up.
    """
    return _find(result, may_be_many=True)


def readings_of(thing: object) -> list[Reading]:
    """Read what a response, a chunk, a usage or several of them say of themselves; never raises."""
    if type(thing) in PLAIN:
        return []
    try:
        parts: Sequence[Any] = cast("Sequence[Any]", thing) if _is_list(thing) else (thing,)
        found = [read for part in parts if type(part) not in PLAIN for read in _readings(part)]
        # A usage by itself, without the response that holds it.
        return found or _readings({"usage": thing})
    except Exception:  # noqa: BLE001 - a foreign object may raise anywhere, and an answer is never lost for it
        return []


# One call of the user's function.


def usages_of_call(
    returned: Any, results: Sequence[Any], usage: Callable[[Any], object] | None, noted: Sequence[Reading] = ()
) -> list[Usage]:
    """Return the usage of each answer of one call: as `usage=` says, else as it was noted, else as its results show."""
    found = None if usage is None else _from_user(usage(returned))
    if found is None and noted:
        return usages_of(noted)
    found = of_results(returned, results) if found is None and usage is None else found
    return [] if found is None else [found]


def of_results(returned: Any, results: Sequence[Any]) -> Usage | None:
    """Return the usage that the results of one call show.

    What all of them show alike is the call's and counts once; what differs adds up.
    """
    whole = _find(returned, may_be_many=len(results) == 1)
    if whole is not None:
        return whole
    shown = [found for result in results if (found := find_usage(result)) is not None]
    if len(shown) > 1 and len(shown) == len(results) and all(found == shown[0] for found in shown):
        return shown[0]
    return functools.reduce(operator.add, shown) if shown else None


def _from_user(given: Any) -> Usage | None:
    """Take what the user's `usage` function returned."""
    if given is None:
        return None
    if type(given) in {int, float}:
        return checked(Usage(cost=given))
    if issubclass(type(given), Usage):
        return checked(given)
    if issubclass(type(given), Mapping) and given and given.keys() <= {*Usage._fields}:
        return checked(Usage(**{name: value for name, value in given.items() if value is not None}))
    found = find_usage(given) or find_usage({"usage": given})
    if found is not None:
        return found
    names: Iterable[Any] = given if issubclass(type(given), Mapping) else ()
    unknown = next((name for name in names if name not in Usage._fields), None)
    near = "" if unknown is None else f" It has {unknown!r}{did_you_mean(str(unknown), Usage._fields)}"
    raise OptionError(
        f"usage= returned a {type(given).__name__} in which no tokens or cost could be found.{near} Return a "
        f"memollm.Usage, a mapping of its fields ({', '.join(Usage._fields)}), a provider's own usage, the cost in "
        "dollars as a number, or None where it is not known."
    )


def checked(usage: Usage, said_by: str = "usage= returned") -> Usage:
    """Refuse what cannot be tokens, dollars or a model's name."""
    for name in ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens"):
        value = getattr(usage, name)
        if type(value) is not int or value < 0:
            raise OptionError(f"{said_by} {name}={value!r}: it must be a whole number from 0 up.")
    cost: Any = usage.cost
    if cost is not None and (type(cost) not in {int, float} or not 0 <= cost < math.inf):
        raise OptionError(f"{said_by} cost={cost!r}: it must be dollars from 0 up, or None where it is not known.")
    model: Any = usage.model
    if model is not None and not isinstance(model, str):
        raise OptionError(f"{said_by} model={model!r}: it must be the model's name, or None.")
    return usage if cost is None else usage._replace(cost=float(cost))
