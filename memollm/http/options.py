"""The options of a memoized client: what they are, and what contradicts itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypedDict, cast

from memollm._types.suggest import did_you_mean
from memollm.errors import OptionError
from memollm.http.endpoints import Endpoint, more_endpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import timedelta
    from os import PathLike

    from memollm._calls.engines import Holder


class HttpOptions(TypedDict, total=False):
    """The options of `wrap`, `Transport` and `AsyncTransport`."""

    namespace: str | None
    pool: int | None
    accept: Callable[[dict[str, Any]], bool] | None
    ttl: float | timedelta | str | None
    mode: Literal["auto", "offline", "refresh", "readonly", "off"] | None
    on_store_error: Literal["warn", "raise"] | None
    keep_arguments: bool | None
    on_cancel: Literal["finish", "stop"] | None
    grace: float | timedelta | str | None
    cache: Holder | str | PathLike[str] | None
    paths: Sequence[str]
    headers: Sequence[str]
    ignore: Sequence[str]
    keyed: Sequence[str]
    host: bool
    on_leave: Literal["stop", "finish"]


UNKEYED: Final = frozenset({"stream", "stream_options", "user", "metadata", "safety_identifier", "prompt_cache_key"})
"""Parts of a body that change no answer."""
HEADERS: Final = ("anthropic-version", "anthropic-beta", "openai-beta")
"""Headers that change answers."""
DRAWING: Final = frozenset(
    {"namespace", "pool", "accept", "ttl", "mode", "on_store_error", "keep_arguments", "on_cancel", "grace", "cache"}
)
OF_ASYNC: Final = frozenset({"on_cancel", "grace", "on_leave"})
"""Options of async clients alone."""
NAMES: Final = ("paths", "headers", "ignore", "keyed")


class Rules(NamedTuple):
    """Which requests are memoized, what of them is keyed, and with which options they are drawn."""

    more: tuple[Endpoint, ...]
    headers: tuple[tuple[str, bytes], ...]
    """Names of headers, as texts and as httpx has them."""
    unkeyed: frozenset[str]
    host: bool
    drawing: dict[str, Any]
    finishes: bool
    """Whether a stream that its reader leaves is read to its end."""


def rules_of(given: dict[str, Any]) -> Rules:
    """Check options, and make rules of them."""
    known = [*HttpOptions.__annotations__]
    for option in given:
        if option not in known:
            raise OptionError(f"A memoized client has no option {option!r}{did_you_mean(option, known)}")
    names = {option: _names(option, given.get(option, ())) for option in NAMES}
    if not isinstance(host := given.get("host", True), bool):
        raise OptionError(f"host={host!r}: it must be True, or False to key a request without its host.")
    if (on_leave := given.get("on_leave", "stop")) not in {"stop", "finish"}:
        raise OptionError(f"on_leave={on_leave!r}: it must be 'stop' or 'finish'.")
    return Rules(
        more_endpoints(names["paths"]),
        tuple((name.lower(), name.lower().encode("latin-1")) for name in (*HEADERS, *names["headers"])),
        UNKEYED.union(names["ignore"]) - {*names["keyed"]},
        host,
        {name: value for name, value in given.items() if name in DRAWING},
        on_leave == "finish",
    )


def _names(option: str, given: object) -> tuple[str, ...]:
    names = tuple(cast("Iterable[object]", given)) if isinstance(given, list | tuple | set | frozenset) else (None,)
    if not all(isinstance(name, str) and name for name in names):
        raise OptionError(f"{option}={given!r}: it must be a list of texts.")
    return cast("tuple[str, ...]", names)
