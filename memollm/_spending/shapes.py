"""How providers tell tokens: the names of their counts, and reading them in whatever may hold them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

PLAIN: Final = frozenset({type(None), str, bytes, bytearray, int, float, bool, complex})
LARGEST: Final = 1 << 63
KINDS: Final = 1_000
"""How much about classes is remembered."""


# Reading what may be anything: by name, in mappings and objects alike, and whatever its properties raise.


def field(thing: Any, name: str) -> Any:
    """Return what a mapping or object holds under a name, or None."""
    try:
        kind: Any = type(thing)  # pyright: ignore[reportUnknownVariableType]
        if issubclass(kind, Mapping):
            return thing.get(name)
        if not _is_model(kind):
            return getattr(thing, name, None)
        # A pydantic model is slow to say what it lacks, and a stream has thousands that lack it.
        for fields in (thing.__dict__, thing.__pydantic_private__, thing.__pydantic_extra__):
            if fields and name in fields:
                return fields[name]
        return getattr(thing, name, None) if _has(kind, name) else None
    except Exception:  # noqa: BLE001 - a foreign property may raise anything, and an answer is never lost for it
        return None


@functools.lru_cache(KINDS)
def _is_model(kind: type) -> bool:
    return _has(kind, "__pydantic_private__") and _has(kind, "__pydantic_extra__")


@functools.lru_cache(KINDS)
def _has(kind: type, name: str) -> bool:
    return any(name in base.__dict__ for base in kind.__mro__)


def at(thing: Any, path: str) -> Any:
    """Return what is held at a path of names with dots between them, or None."""
    for name in path.split("."):
        if type(thing) in PLAIN:
            return None
        thing = field(thing, name)
    return thing


def number_of(value: Any) -> float | None:
    """Return a number that can be tokens or dollars."""
    if type(value) is int or type(value) is float:
        return value if 0 <= value < LARGEST else None
    return None


def count_of(value: Any) -> int | None:
    """Return a number of tokens; Cohere's are floats."""
    number = number_of(value)
    return None if number is None else int(number)


def text_of(thing: Any, names: Iterable[str]) -> str | None:
    """Return the first text that is held under one of the names."""
    return next((text for name in names if type(text := field(thing, name)) is str and text), None)


# What providers call their counts.


class Shape(NamedTuple):
    """The names that one family of providers gives to its counts; dots lead into what is held."""

    input: str
    output: str
    cached: tuple[str, ...] = ()
    """Where the tokens read from the cache may stand: the first that is there counts."""
    written: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()
    """Input that is not part of `input`."""
    thoughts: tuple[str, ...] = ()
    """Output that is not part of `output`."""
    total: str = ""
    """All tokens; what is above input and output is output that was not shown."""
    is_cumulative: bool = False
    """Whether each chunk of a stream counts all that came before."""


CHAT: Final = Shape(
    "prompt_tokens",
    "completion_tokens",
    cached=("prompt_tokens_details.cached_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens"),
    written=(
        "prompt_tokens_details.cache_write_tokens",
        "prompt_tokens_details.cache_creation_tokens",
        "cache_creation_input_tokens",
    ),
    total="total_tokens",
)
"""OpenAI's chats, legacy completions and embeddings, and all that speak like it: LiteLLM, OpenRouter, vLLM, Mistral."""
TOKENS: Final = Shape(
    "input_tokens",
    "output_tokens",
    cached=(
        "input_tokens_details.cached_tokens",
        "input_token_details.cache_read",
        "cache_read_input_tokens",
        "cached_tokens",
    ),
    written=("input_token_details.cache_creation", "cache_creation_input_tokens", "cache_write_tokens"),
    besides=("cache_read_input_tokens", "cache_creation_input_tokens"),
)
"""OpenAI's responses, LangChain, Cohere, and Anthropic, whose input leaves out what has to do with the cache."""
GEMINI: Final = Shape(
    "prompt_token_count",
    "candidates_token_count",
    cached=("cached_content_token_count",),
    besides=("tool_use_prompt_token_count",),
    thoughts=("thoughts_token_count",),
    is_cumulative=True,
)
GEMINI_REST: Final = Shape(
    "promptTokenCount",
    "candidatesTokenCount",
    cached=("cachedContentTokenCount",),
    besides=("toolUsePromptTokenCount",),
    thoughts=("thoughtsTokenCount",),
    is_cumulative=True,
)
BEDROCK: Final = Shape(
    "inputTokens",
    "outputTokens",
    cached=("cacheReadInputTokens",),
    written=("cacheWriteInputTokens",),
    besides=("cacheReadInputTokens", "cacheWriteInputTokens"),
)
OLLAMA: Final = Shape("prompt_eval_count", "eval_count")
SHAPES: Final = (CHAT, TOKENS, GEMINI, GEMINI_REST, BEDROCK, OLLAMA)


class TokenCounts(NamedTuple):
    """Tokens, in our words."""

    input: int
    output: int
    cached: int
    written: int
    shape: Shape


def counts_in(source: Any, *, surely: bool = False) -> TokenCounts | None:
    """Return the counts that something holds; `surely` asks for both, where nothing else says that they are counts."""
    for shape in SHAPES:
        given = count_of(field(source, shape.input))
        if given is None and surely:
            continue
        made = count_of(field(source, shape.output))
        if made is None and (given is None or surely):
            continue
        taken = (given or 0) + sum(count_of(field(source, name)) or 0 for name in shape.besides)
        output = (made or 0) + sum(count_of(field(source, name)) or 0 for name in shape.thoughts)
        if made is not None and shape.total:
            output = max(output, (count_of(field(source, shape.total)) or 0) - taken)
        return TokenCounts(
            taken, output, _first_count(source, shape.cached), _first_count(source, shape.written), shape
        )
    total = None if surely else count_of(field(source, CHAT.total))
    return None if total is None else TokenCounts(total, 0, 0, 0, CHAT)


def _first_count(thing: Any, paths: Iterable[str]) -> int:
    return next((count for path in paths if (count := count_of(at(thing, path)))), 0)
