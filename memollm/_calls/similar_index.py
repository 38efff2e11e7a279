"""Letting stored calls be found by similar ones: those without a vector are embedded, many at a time."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from memollm._drive.introduction import introduce
from memollm._drive.jobs import TASKS, THREADS, Job, require_options
from memollm._drive.progress import Tally, listener_for
from memollm._drive.similarity import take_up, take_up_async
from memollm._keys.rekeying import function_in
from memollm.errors import OptionError
from memollm.stores.looking import looking
from memollm.stores.matching import StoredVector, VectorSpace, matching, parted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memollm._calls.function import Function
    from memollm._calls.invocation import Invocation
    from memollm._calls.memos import NewMemo, OwnMemo
    from memollm._calls.similarity import SimilarInvocation
    from memollm._drive.jobs import Mapped
    from memollm._types.calls import Call
    from memollm.stores.matching import Matching


class Unknown(NamedTuple):
    """A stored call that no similar call would find."""

    call: Call
    text: str


def index_similar(
    function: Function,
    asked: Invocation,
    *,
    concurrency: int | None = None,
    progress: object = None,
    on_error: str = "raise",
) -> Any:
    """Embed the stored calls of a function that have no vector; return how many were taken up, in its colour.

    Each is kept as it comes, so that whoever is interrupted goes on where it was.
    """
    if function.options.similar is None:
        raise OptionError(f"index_similar: {function.name} has no similar=, so there is nothing to embed.")
    invocation = cast("SimilarInvocation", asked)
    require_options(concurrency=concurrency, on_error=on_error, progress=progress)
    if on_error == "return":
        raise OptionError('on_error="return": this returns how many calls were indexed. Say "raise" or "skip".')
    index = SimilarIndex(invocation)

    def job() -> Job:
        return index.job(concurrency=concurrency, on_error=on_error, progress=progress)

    if invocation.is_async:
        return take_up_async(job, index.take, is_async=index.memo.is_async)
    return take_up(job, index.take)


class SimilarIndex:
    """The vectors of the stored calls of one function."""

    def __init__(self, invocation: SimilarInvocation) -> None:
        self._invocation = invocation
        self._text = invocation.similar.text
        self._groups: list[list[Unknown]] = []
        self._identity = ""
        self.memo: NewMemo | OwnMemo = invocation.embedding()

    def job(self, *, concurrency: int | None, on_error: str, progress: Any) -> Job:
        """List what has no vector yet, and return the requests for it; this may block."""
        introduce(self._invocation)
        plan = self._invocation.plan
        if plan.bare or plan.explain_miss is not None or plan.engine is not self._invocation.writes_to():
            raise OptionError(
                f"index_similar of {plan.name}: in the modes offline, readonly and off nothing is embedded or kept. "
                'Use .with_options(mode="auto").'
            )
        self._identity = self.memo.identity
        missing = self._missing(matching(plan.engine.store))
        self._groups = [*iter(lambda: [*islice(missing, self.memo.most)], [])]
        return Job(
            embed,
            lambda args, _: self.memo.request([each.text for each in cast("Sequence[Unknown]", args[0])]),
            [(group,) for group in self._groups],
            concurrency=concurrency or (TASKS if self.memo.is_async else THREADS),
            on_error=on_error,
            tally=Tally(len(self._groups), listener_for(progress, plan.name)),
        )

    def _missing(self, kept: Matching) -> Iterator[Unknown]:
        name, versions = self._invocation.known_as()
        for stored in looking(self._invocation.plan.engine.store).calls(name):
            found = function_in(stored.call.form) if stored.samples else None
            if found is None or found[0]["version"] not in versions:
                continue
            try:
                text, _ = parted(stored.call.form, self._text)
            except ValueError:
                continue
            if text is not None and not any(map(self._is_ours, kept.vectors_of(stored.call))):
                yield Unknown(stored.call, text)

    def _is_ours(self, kept: StoredVector) -> bool:
        return kept.space.parameter == self._text and kept.space.embedder.rpartition(" ")[0] == self._identity

    def take(self, mapped: Mapped[Any]) -> int:
        """Take up the vectors of a request; return how many."""
        if self.memo.identity != self._identity:
            # What the embedder reads has changed meanwhile, so nobody can say whose vectors these are.
            return 0
        group, vectors = self._groups[mapped.at], self.memo.vectors(mapped.result)
        kept = matching(self._invocation.plan.engine.store)
        kept.learn(
            *(
                StoredVector(each.call, VectorSpace(f"{self._identity} {len(vector)}", self._text), vector.tobytes())
                for each, vector in zip(group, vectors, strict=True)
            )
        )
        return len(group)


def embed(texts: Any) -> None:
    """Stand for the embedder, by whose name errors are told."""
