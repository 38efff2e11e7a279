"""The options of a decorated function: what they may be, and what contradicts itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, cast

from memollm._calls.configuration import (
    require_mode,
    require_name,
    require_on_change,
    require_on_store_error,
    require_switch,
)
from memollm._calls.engines import Holder, Place, require_cache
from memollm._draws.plan import GRACE
from memollm._drive.gather import Gather
from memollm._types.durations import seconds_of
from memollm._types.suggest import did_you_mean
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from memollm._similar.options import Similar

ON_STALE: Final = ("error", "miss")
ON_CANCEL: Final = ("finish", "stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one decorated function, as given."""

    n: int | None = None
    namespace: str | None = None
    pool: int | None = None
    ignore: str | Sequence[str] = ()
    key: Callable[..., Any] | None = None
    name: str | None = None
    version: str | int | None = None
    count: str | None = None
    batch: str | None = None
    gather: Gather | None = None
    concurrency: int | None = None
    on_cancel: str | None = None
    grace: float | timedelta | str | None = None
    accept: Callable[[Any], bool] | None = None
    on_change: str | None = None
    on_stale: str = "error"
    on_store_error: str | None = None
    keep_arguments: bool | None = None
    ttl: float | timedelta | str | None = None
    mode: str | None = None
    usage: Callable[[Any], object] | None = None
    text: Callable[[Any], str] | None = None
    similar: Similar | None = None
    cache: Holder | Place | None = None
    insisted: frozenset[str] = frozenset()
    """Names of the options that `with_options` gave: they win over context managers."""

    def check(self) -> None:
        """Refuse values that an option cannot have, and options that contradict each other."""
        self._check_numbers()
        self._check_control()
        self._check_kinds()
        self._check_batch()
        if self.similar is not None:
            self._check_similar(self.similar)
        if self.key is not None and self.ignore:
            raise OptionError("key= with ignore=: what `key` returns is the whole key, so leave `ignore` out.")
        if self.on_change is not None:
            require_on_change("on_change", self.on_change)
        if self.on_store_error is not None:
            require_on_store_error("on_store_error", self.on_store_error)
        if self.on_stale not in ON_STALE:
            raise OptionError(f"on_stale={self.on_stale!r}{did_you_mean(str(self.on_stale), ON_STALE)}")
        if self.cache is not None:
            require_cache(self.cache)

    def _check_numbers(self) -> None:
        for option in ("n", "pool", "concurrency"):
            value = getattr(self, option)
            if value is not None and (type(value) is not int or value < 1):
                raise OptionError(f"{option}={value!r}: it must be a whole number from 1 up.")
        if self.n is not None and self.pool is not None and self.n > self.pool:
            raise OptionError(
                f"n={self.n} with pool={self.pool}: a call cannot give {self.n} different samples out of a pool of "
                f"{self.pool}. Make the pool as large as n, or leave it out."
            )

    def _check_control(self) -> None:
        if self.mode is not None:
            require_mode("mode", self.mode)
        if self.ttl is not None and not self.seconds_to_live:
            raise OptionError(f"ttl={self.ttl!r}: it must be longer than nothing.")
        if self.on_cancel is not None and self.on_cancel not in ON_CANCEL:
            raise OptionError(f"on_cancel={self.on_cancel!r}{did_you_mean(str(self.on_cancel), ON_CANCEL)}")
        if self.seconds_of_grace != GRACE and self.on_cancel == "stop":
            raise OptionError(
                f'grace={self.grace!r} with on_cancel="stop": what is stopped at once has no grace. Leave one out.'
            )

    def _check_batch(self) -> None:
        if self.batch is not None and self.count is not None:
            raise OptionError(
                f"batch={self.batch!r} with count={self.count!r}: a call makes one result for each item; for more of "
                "each, give n."
            )
        if self.batch is not None and self.batch in self.ignored:
            raise OptionError(f"ignore={self.batch!r} with batch={self.batch!r}: the items are what calls differ in.")
        if self.gather is not None and type(self.gather) is not Gather:
            raise OptionError(f"gather={self.gather!r}: it must be a memollm.Gather(...).")
        if self.gather is not None and self.batch is None and self.count is None:
            raise OptionError(
                "gather without batch or count: say by batch= which parameter holds the list of items, or by count= "
                "which one takes how many samples to make."
            )

    def _check_similar(self, similar: Similar) -> None:
        from memollm._similar.options import Similar  # Few programs ask for it.

        if type(cast("object", similar)) is not Similar:
            raise OptionError(f"similar={similar!r}: it must be a memollm.Similar(...).")
        if self.pool != 1:
            raise OptionError(
                "similar= asks for pool=1. Draws of a call are different samples, and what a similar call lends is "
                "none of them; memoize with pool=1, or leave similar= out."
            )
        for option in ("count", "batch", "key"):
            if getattr(self, option) is not None:
                raise OptionError(
                    f"similar= with {option}=: a call has one text, in a parameter of its own. Leave one of them out."
                )
        if similar.text in self.ignored:
            raise OptionError(f"ignore={similar.text!r} with similar=: what is compared must count. Leave one out.")
        if self.keep_arguments is False:
            raise OptionError("similar= with keep_arguments=False: of a digest no text can be compared. Leave one out.")

    @property
    def seconds_to_live(self) -> float | None:
        """How long a sample counts; None: for ever."""
        return None if self.ttl is None else seconds_of("ttl", self.ttl)

    @property
    def seconds_of_grace(self) -> float:
        """How long a call goes on that nobody waits for any more."""
        return GRACE if self.grace is None else seconds_of("grace", self.grace)

    @property
    def ignored(self) -> tuple[str, ...]:
        """The parameters left out of the key."""
        return (self.ignore,) if isinstance(self.ignore, str) else tuple(self.ignore)

    def _check_kinds(self) -> None:
        for option in ("namespace", "name", "batch"):
            if getattr(self, option) is not None:
                require_name(option, getattr(self, option))
        for option in ("key", "accept", "usage", "text"):
            if getattr(self, option) is not None and not callable(getattr(self, option)):
                raise OptionError(f"{option}={getattr(self, option)!r}: it must be a function.")
            if iscoroutinefunction(getattr(self, option)):
                raise OptionError(
                    f"{option}={getattr(self, option)!r}: it must be a plain function, not a coroutine's."
                )
        if not isinstance(cast("object", self.ignore), Iterable):
            raise OptionError(f"ignore={self.ignore!r}: it must be the name of a parameter, or a tuple of names.")
        if not isinstance(cast("object", self.count), str | None):
            raise OptionError(f"count={self.count!r}: it must be the name of a parameter, as text.")
        if not isinstance(cast("object", self.version), str | int | None) or self.version == "":
            raise OptionError(f"version={self.version!r}: it must be a text or a whole number.")


OPTIONS: Final = [option.name for option in fields(Options) if option.name != "insisted"]


def options_from(given: dict[str, Any], base: Options | None = None) -> Options:
    """Make options from keywords, on top of others; those on top are insisted on."""
    for option in given:
        if option not in OPTIONS:
            raise OptionError(f"cached_llm has no option {option!r}{did_you_mean(option, OPTIONS)}")
    if given.get("keep_arguments") is not None:
        given = {**given, "keep_arguments": require_switch("keep_arguments", given["keep_arguments"])}
    insisted: frozenset[str] = frozenset() if base is None else base.insisted | given.keys()
    options = replace(base or Options(), **given, insisted=insisted)
    options.check()
    return options
