"""What type checkers see: the exact parameters of a decorated function, and `R` or `list[R]` as its result."""

# A coroutine function is a function too, so overloads for the two overlap; the first that fits is meant.
# mypy: disable-error-code="overload-overlap"
# pyright: reportOverlappingOverload=false

from __future__ import annotations

from abc import ABCMeta
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Generator, Iterable, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    Never,
    ParamSpec,
    Protocol,
    Self,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from memollm._types.public import public

if TYPE_CHECKING:
    from datetime import timedelta
    from os import PathLike

    from memollm._calls.engines import Holder
    from memollm._drive.gather import Gather
    from memollm._drive.jobs import Mapped
    from memollm._drive.progress import Progress
    from memollm._similar.options import Similar
    from memollm._spending.stats import Stats
    from memollm._upkeep.answers import AnswerCounts
    from memollm._upkeep.explain import Explanation

P = ParamSpec("P")
Q = ParamSpec("Q")
X = TypeVar("X")
R = TypeVar("R")
Y = TypeVar("Y")
T = TypeVar("T")
C_co = TypeVar("C_co", covariant=True)
D_co = TypeVar("D_co", covariant=True)
S_co = TypeVar("S_co", covariant=True)
O_co = TypeVar("O_co", covariant=True)
Later = Coroutine[Any, Any, R]


Items = Iterable[Any] | AsyncIterable[Any]


class MapOptions(TypedDict, total=False):
    """The options of `map` besides those that decide the result's type."""

    concurrency: int | None
    progress: bool | Callable[[Progress], object] | None


class OptionTypes(TypedDict, total=False):
    """The options of `cached_llm` besides `n`, `count` and `batch`, which decide the result's type."""

    namespace: str | None
    pool: int | None
    ignore: str | Sequence[str]
    key: Callable[..., Any] | None
    name: str | None
    version: str | int | None
    concurrency: int | None
    on_cancel: Literal["finish", "stop"] | None
    grace: float | timedelta | str | None
    accept: Callable[[Any], bool] | None
    on_change: Literal["new", "warn", "error", "ignore"] | None
    on_stale: Literal["error", "miss"]
    on_store_error: Literal["warn", "raise"] | None
    ttl: float | timedelta | str | None
    mode: Literal["auto", "offline", "refresh", "readonly", "off", "resume"] | None
    usage: Callable[[Any], object] | None
    text: Callable[[Any], str] | None
    keep_arguments: bool | None
    similar: Similar | None
    cache: Holder | str | PathLike[str] | None


@public
class Cached(Generic[P, C_co, D_co, S_co], metaclass=ABCMeta):
    """A decorated function: calling it gives `C`, drawing several samples `D`; a sample is an `S`.

    For annotations, as in `Cached[[str], str, list[str], str]`, and for `isinstance`.
    """

    if TYPE_CHECKING:
        __wrapped__: Callable[P, Any]
        __name__: str
        __qualname__: str

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C_co: ...
        def draw(self, n: int, /, *args: P.args, **kwargs: P.kwargs) -> D_co: ...
        def peek(self, *args: P.args, **kwargs: P.kwargs) -> list[S_co]: ...
        def key(self, *args: P.args, **kwargs: P.kwargs) -> str: ...
        def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation: ...
        def forget(self, *args: P.args, **kwargs: P.kwargs) -> int: ...
        def forget_all(self) -> int: ...
        def stats(self) -> Stats: ...
        def tally(self, *args: P.args, **kwargs: P.kwargs) -> AnswerCounts: ...

        # Of a coroutine function, then of a plain one.
        @overload
        def index_similar(
            self: Cached[P, Later[X], D_co, S_co],
            *,
            on_error: Literal["raise", "skip"] = "raise",
            **options: Unpack[MapOptions],
        ) -> Later[int]: ...
        @overload
        def index_similar(
            self: Cached[P, X, D_co, S_co],
            *,
            on_error: Literal["raise", "skip"] = "raise",
            **options: Unpack[MapOptions],
        ) -> int: ...
        def index_similar(self, **options: Any) -> Any: ...
        @overload
        def map(
            self: Cached[P, Later[X], D_co, S_co],
            items: Items,
            *,
            on_error: Literal["raise", "skip"] = "raise",
            as_completed: Literal[False] = False,
            **options: Unpack[MapOptions],
        ) -> Later[list[X]]: ...
        @overload
        def map(
            self: Cached[P, Later[X], D_co, S_co],
            items: Items,
            *,
            on_error: Literal["raise", "skip"] = "raise",
            as_completed: Literal[True],
            **options: Unpack[MapOptions],
        ) -> AsyncGenerator[Mapped[X], None]: ...
        @overload
        def map(
            self: Cached[P, Later[X], D_co, S_co],
            items: Items,
            *,
            on_error: Literal["return"],
            as_completed: Literal[False] = False,
            **options: Unpack[MapOptions],
        ) -> Later[list[X | Exception]]: ...
        @overload
        def map(
            self: Cached[P, Later[X], D_co, S_co],
            items: Items,
            *,
            on_error: Literal["return"],
            as_completed: Literal[True],
            **options: Unpack[MapOptions],
        ) -> AsyncGenerator[Mapped[X | Exception], None]: ...
        @overload
        def map(
            self: Cached[P, X, D_co, S_co],
            items: Iterable[Any],
            *,
            on_error: Literal["raise", "skip"] = "raise",
            as_completed: Literal[False] = False,
            **options: Unpack[MapOptions],
        ) -> list[X]: ...
        @overload
        def map(
            self: Cached[P, X, D_co, S_co],
            items: Iterable[Any],
            *,
            on_error: Literal["raise", "skip"] = "raise",
            as_completed: Literal[True],
            **options: Unpack[MapOptions],
        ) -> Generator[Mapped[X], None, None]: ...
        @overload
        def map(
            self: Cached[P, X, D_co, S_co],
            items: Iterable[Any],
            *,
            on_error: Literal["return"],
            as_completed: Literal[False] = False,
            **options: Unpack[MapOptions],
        ) -> list[X | Exception]: ...
        @overload
        def map(
            self: Cached[P, X, D_co, S_co],
            items: Iterable[Any],
            *,
            on_error: Literal["return"],
            as_completed: Literal[True],
            **options: Unpack[MapOptions],
        ) -> Generator[Mapped[X | Exception], None, None]: ...
        def map(self, items: Any, **options: Any) -> Any: ...

        # Checkers do not say whether it was a class method, a method or a static method; the first parameter does.
        @overload
        def __get__(  # type: ignore[misc]  # A class whose calls begin with a class is what it is for.
            self: Callable[Concatenate[type[X], Q], Any], instance: X | None, owner: type[X]
        ) -> Cached[Q, C_co, D_co, S_co]: ...
        @overload
        def __get__(
            self: Callable[Concatenate[X, Q], Any], instance: X, owner: type[Any]
        ) -> Cached[Q, C_co, D_co, S_co]: ...
        @overload
        def __get__(self, instance: object, owner: type[Any] | None = None) -> Self: ...
        def __get__(self, instance: Any, owner: Any = None) -> Any: ...

        @overload
        def with_options(self, *, n: int, **options: Unpack[OptionTypes]) -> Cached[P, D_co, D_co, S_co]: ...
        @overload
        def with_options(
            self: Cached[P, Any, Later[Any], S_co], *, n: None, **options: Unpack[OptionTypes]
        ) -> Cached[P, Later[S_co], D_co, S_co]: ...
        @overload
        def with_options(self, *, n: None, **options: Unpack[OptionTypes]) -> Cached[P, S_co, D_co, S_co]: ...
        @overload
        def with_options(self, **options: Unpack[OptionTypes]) -> Self: ...
        def with_options(self, **options: Any) -> Any: ...


class CachedSeveral(Cached[P, D_co, D_co, S_co]):
    """A decorated function with `count`, whose calls give lists whatever `n` is."""

    if TYPE_CHECKING:

        def with_options(self, *, n: int | None = None, **options: Unpack[OptionTypes]) -> Self: ...  # type: ignore[override]


class CachedBatch(Cached[P, C_co, D_co, S_co], Generic[P, C_co, D_co, S_co, O_co]):
    """A decorated function with `batch`: a call gives a list with one sample for each item, `one` gives an `O`."""

    if TYPE_CHECKING:
        # The item stands in the place of the list, wherever that is, which no annotation can say.
        def one(self, *args: Any, **kwargs: Any) -> O_co: ...
        @overload  # type: ignore[override]  # It binds as in `Cached`, to its own kind.
        def __get__(
            self: CachedBatch[Concatenate[type[X], Q], C_co, D_co, S_co, O_co], instance: X | None, owner: type[X]
        ) -> CachedBatch[Q, C_co, D_co, S_co, O_co]: ...
        @overload
        def __get__(
            self: CachedBatch[Concatenate[X, Q], C_co, D_co, S_co, O_co], instance: X, owner: type[Any]
        ) -> CachedBatch[Q, C_co, D_co, S_co, O_co]: ...
        @overload
        def __get__(self, instance: object, owner: type[Any] | None = None) -> Self: ...
        def __get__(  # pyright: ignore[reportIncompatibleMethodOverride]  # The same.
            self, instance: Any, owner: Any = None
        ) -> Any: ...


class One(Protocol):
    """The decorator without `n`: a call gives one sample, as it is."""

    @overload
    def __call__(
        self, f: classmethod[X, P, Generator[Y, T, R]], /
    ) -> Cached[Concatenate[type[X], P], Generator[Y, T, R], Never, list[Y]]: ...
    @overload
    def __call__(
        self, f: classmethod[X, P, AsyncGenerator[Y, T]], /
    ) -> Cached[Concatenate[type[X], P], AsyncGenerator[Y, T], Never, list[Y]]: ...
    @overload
    def __call__(self, f: Callable[P, Generator[Y, T, R]], /) -> Cached[P, Generator[Y, T, R], Never, list[Y]]: ...
    @overload
    def __call__(self, f: Callable[P, AsyncGenerator[Y, T]], /) -> Cached[P, AsyncGenerator[Y, T], Never, list[Y]]: ...
    @overload
    def __call__(
        self, f: classmethod[X, P, Later[R]], /
    ) -> Cached[Concatenate[type[X], P], Later[R], Later[list[R]], R]: ...
    @overload
    def __call__(self, f: classmethod[X, P, R], /) -> Cached[Concatenate[type[X], P], R, list[R], R]: ...
    @overload
    def __call__(self, f: Callable[P, Later[R]], /) -> Cached[P, Later[R], Later[list[R]], R]: ...
    @overload
    def __call__(self, f: Callable[P, R], /) -> Cached[P, R, list[R], R]: ...


class Many(Protocol):
    """The decorator with `n`: a call gives a list of samples."""

    @overload
    def __call__(
        self, f: classmethod[X, P, Later[R]], /
    ) -> Cached[Concatenate[type[X], P], Later[list[R]], Later[list[R]], R]: ...
    @overload
    def __call__(self, f: classmethod[X, P, R], /) -> Cached[Concatenate[type[X], P], list[R], list[R], R]: ...
    @overload
    def __call__(self, f: Callable[P, Later[R]], /) -> Cached[P, Later[list[R]], Later[list[R]], R]: ...
    @overload
    def __call__(self, f: Callable[P, R], /) -> Cached[P, list[R], list[R], R]: ...


class Counted(Protocol):
    """The decorator with `count`: the function itself gives a list of samples, and so does a call."""

    @overload
    def __call__(
        self, f: classmethod[X, P, Later[Sequence[R]]], /
    ) -> CachedSeveral[Concatenate[type[X], P], Later[list[R]], R]: ...
    @overload
    def __call__(self, f: classmethod[X, P, Sequence[R]], /) -> CachedSeveral[Concatenate[type[X], P], list[R], R]: ...
    @overload
    def __call__(self, f: Callable[P, Later[Sequence[R]]], /) -> CachedSeveral[P, Later[list[R]], R]: ...
    @overload
    def __call__(self, f: Callable[P, Sequence[R]], /) -> CachedSeveral[P, list[R], R]: ...


class Batched(Protocol):
    """The decorator with `batch`: the function takes a list of items and gives a list of results."""

    @overload
    def __call__(
        self, f: classmethod[X, P, Later[Sequence[R]]], /
    ) -> CachedBatch[Concatenate[type[X], P], Later[list[R]], Later[list[list[R]]], R, Later[R]]: ...
    @overload
    def __call__(
        self, f: classmethod[X, P, Sequence[R]], /
    ) -> CachedBatch[Concatenate[type[X], P], list[R], list[list[R]], R, R]: ...
    @overload
    def __call__(
        self, f: Callable[P, Later[Sequence[R]]], /
    ) -> CachedBatch[P, Later[list[R]], Later[list[list[R]]], R, Later[R]]: ...
    @overload
    def __call__(self, f: Callable[P, Sequence[R]], /) -> CachedBatch[P, list[R], list[list[R]], R, R]: ...


class BatchedMany(Protocol):
    """The decorator with `batch` and `n`: a call gives n samples for each item."""

    @overload
    def __call__(
        self, f: classmethod[X, P, Later[Sequence[R]]], /
    ) -> CachedBatch[Concatenate[type[X], P], Later[list[list[R]]], Later[list[list[R]]], R, Later[list[R]]]: ...
    @overload
    def __call__(
        self, f: classmethod[X, P, Sequence[R]], /
    ) -> CachedBatch[Concatenate[type[X], P], list[list[R]], list[list[R]], R, list[R]]: ...
    @overload
    def __call__(
        self, f: Callable[P, Later[Sequence[R]]], /
    ) -> CachedBatch[P, Later[list[list[R]]], Later[list[list[R]]], R, Later[list[R]]]: ...
    @overload
    def __call__(self, f: Callable[P, Sequence[R]], /) -> CachedBatch[P, list[list[R]], list[list[R]], R, list[R]]: ...


class Decorate(One, Protocol):
    """`cached_llm` itself: bare, or with options."""

    @overload
    def __call__(
        self, f: classmethod[X, P, Generator[Y, T, R]], /
    ) -> Cached[Concatenate[type[X], P], Generator[Y, T, R], Never, list[Y]]: ...
    @overload
    def __call__(
        self, f: classmethod[X, P, AsyncGenerator[Y, T]], /
    ) -> Cached[Concatenate[type[X], P], AsyncGenerator[Y, T], Never, list[Y]]: ...
    @overload
    def __call__(self, f: Callable[P, Generator[Y, T, R]], /) -> Cached[P, Generator[Y, T, R], Never, list[Y]]: ...
    @overload
    def __call__(self, f: Callable[P, AsyncGenerator[Y, T]], /) -> Cached[P, AsyncGenerator[Y, T], Never, list[Y]]: ...
    @overload
    def __call__(
        self, f: classmethod[X, P, Later[R]], /
    ) -> Cached[Concatenate[type[X], P], Later[R], Later[list[R]], R]: ...
    @overload
    def __call__(self, f: classmethod[X, P, R], /) -> Cached[Concatenate[type[X], P], R, list[R], R]: ...
    @overload
    def __call__(self, f: Callable[P, Later[R]], /) -> Cached[P, Later[R], Later[list[R]], R]: ...
    @overload
    def __call__(self, f: Callable[P, R], /) -> Cached[P, R, list[R], R]: ...
    @overload
    def __call__(
        self, *, batch: str, n: int, gather: Gather | None = None, **options: Unpack[OptionTypes]
    ) -> BatchedMany: ...
    @overload
    def __call__(
        self, *, batch: str, n: None = None, gather: Gather | None = None, **options: Unpack[OptionTypes]
    ) -> Batched: ...
    @overload
    def __call__(
        self, *, count: str, n: int | None = None, gather: Gather | None = None, **options: Unpack[OptionTypes]
    ) -> Counted: ...
    @overload
    def __call__(self, *, n: int, **options: Unpack[OptionTypes]) -> Many: ...
    @overload
    def __call__(self, *, n: None = None, **options: Unpack[OptionTypes]) -> One: ...
