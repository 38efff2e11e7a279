"""The desk: requests to the store from many draws, brought there together.

What arrives while a commit is under way shares the next one. A thread waits for the store itself; for an event loop a
helper does.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from memollm._types.locks import ThreadLock
from memollm._types.requests import Fill, Write, Written
from memollm._types.signals import pass_on
from memollm.errors import StoreError, StoreInUse, StoreUnavailable
from memollm.stores.flights import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.requests import Answer, Change, Request
    from memollm.stores.drawing import Drawing

    Then = Callable[[Written], Sequence[Change]]


class Pending:
    """A request on its way to the store."""

    __slots__ = ("_answer", "done", "request")

    def __init__(self, request: Request | None) -> None:
        self.request = request
        self.done = Signal()
        self._answer: Any = None

    def answer(self, answer: Answer | BaseException | Any) -> None:
        """Be done, unless it is done already."""
        if not self.done.is_set():
            self._answer = answer
            self.done.set()

    def do(self, work: Callable[[], Any]) -> None:
        """Be done with what comes of work."""
        try:
            self.answer(work())
        except BaseException as error:  # noqa: BLE001 - told to who waits for it
            self.answer(error)

    def outcome(self) -> Any:
        """Return the answer, or raise what went wrong, once it is done."""
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


class Debt(NamedTuple):
    """What could not be written and must be, or of which nobody has heard whether it was."""

    write: Write
    then: Then | None = None
    """Tells what is to be written when the answer is known."""


class Desk:
    """The requests of one engine."""

    def __init__(self, store: Drawing, on_debt: Callable[[], None]) -> None:
        self._store = store
        self._on_debt = on_debt
        flushing = ThreadLock()
        self._flushing, self._is_flushing = flushing.lock, flushing.mine
        self._queue: list[Pending] = []
        self.debts: list[Debt] = []
        """They are paid before positions are taken: what was delivered may still look free."""
        self._helper: ThreadPoolExecutor | None = None
        self._beginning = threading.RLock()
        self._drain_is_due = False
        self._doing: list[Pending] = []

    # In this thread.

    def perform(self, request: Request) -> Any:
        """Bring a request to the store, writes together with those of other threads, and return the answer."""
        if type(request) is not Write:
            self.paid(wait=True)
            answer = self._store.perform((request,))[0]
            if isinstance(answer, StoreError):
                raise answer
            return answer
        if self._is_flushing():
            return self._perform_aside(request)
        pending = Pending(request)
        self._queue.append(pending)
        try:
            while not pending.done.is_set():
                self.flush()
        except BaseException:
            # Whoever was interrupted may not come back, and how a draw ended is known before another takes.
            self._owe(request)
            raise
        return pending.outcome()

    def _perform_aside(self, request: Write) -> Any:
        """Bring a write to the store by itself, for a signal handler, say, that has interrupted a flush."""
        (answer,) = self._store.perform((request,))
        if isinstance(answer, StoreUnavailable | StoreInUse):
            self._owe(request)
        if isinstance(answer, StoreError):
            raise answer
        return answer

    def paid(self, *, wait: bool) -> bool:
        """Write what is owed; tell that it was tried, or that it would have to wait."""
        if self.debts and wait:
            self.flush()
        return wait or not self.debts

    def flush(self) -> None:
        """Bring to the store all that is owed, and all that waits; not where this very thread does so already."""
        if self._is_flushing():
            return
        with self._flushing:
            some = list(self._queue)
            try:
                self._bring(list(self.debts), some)
            except Exception as error:  # noqa: BLE001 - told to each of those who wait
                # But for an interrupt by signal, as a time-out may be, which is this thread's alone.
                pass_on(error)
                for pending in some:
                    pending.answer(error)
            finally:
                # Who was interrupted, before or after the commit, leaves the rest: a request asked twice counts once.
                self._queue[: len(some)] = [pending for pending in some if not pending.done.is_set()]

    def _bring(self, debts: list[Debt], some: list[Pending]) -> None:
        if not debts and not some:
            return
        writes = (debt.write for debt in debts)
        answers = self._store.perform([*writes, *(pending.request for pending in some if pending.request)])
        has_more = bool(debts) and self._know_paid(debts, answers[: len(debts)])
        for pending, answer in zip(some, answers[len(debts) :], strict=True):
            if isinstance(answer, StoreUnavailable | StoreInUse):
                self._owe(pending.request)
            pending.answer(answer)
        if has_more:
            self._bring(list(self.debts), [])

    def _know_paid(self, debts: list[Debt], answers: Sequence[Answer | StoreError]) -> bool:
        """Keep what could not be paid, and what is owed now that answers are known; tell whether that can be paid."""
        left: list[Debt] = []
        more: list[Debt] = []
        for debt, answer in zip(debts, answers, strict=True):
            if isinstance(answer, StoreUnavailable | StoreInUse):
                left.append(debt)
            elif debt.then is not None and isinstance(answer, Written) and (changes := debt.then(answer)):
                more.append(Debt(Write(self._store.flights.new_id(), changes)))
        self.debts[: len(debts)] = [*left, *more]
        return bool(more) and not left

    def _owe(self, request: Request | None) -> None:
        """Try again later what only says how a draw ended; answers that could not be stored are lost to the store."""
        if isinstance(request, Write) and not any(isinstance(change, Fill) for change in request.changes):
            self.debts.append(Debt(request))
            self._on_debt()

    # For event loops.

    @property
    def is_busy(self) -> bool:
        """Whether requests wait; who comes later is to queue behind them (P6)."""
        return bool(self._queue or self._doing)

    def submit(self, request: Request) -> Pending:
        """Have the helper bring a request to the store, together with those that others hand in meanwhile."""
        pending = Pending(request)
        self._queue.append(pending)
        if not self._drain_is_due:
            self._drain_is_due = True
            try:
                self._helped().submit(self._drain)
            except RuntimeError:
                # The cache or the interpreter is being closed, and no thread begins any more.
                self._drain()
        return pending

    def do(self, work: Callable[[], Any]) -> Pending:
        """Have the helper do something that may take a while, after what was handed in before."""
        pending = Pending(None)
        self._doing.append(pending)
        try:
            self._helped().submit(self._do, work, pending)
        except RuntimeError:
            self._do(work, pending)
        return pending

    def _do(self, work: Callable[[], Any], pending: Pending) -> None:
        pending.do(work)
        self._doing.remove(pending)

    def _helped(self) -> ThreadPoolExecutor:
        with self._beginning:
            if self._helper is None:
                self._helper = ThreadPoolExecutor(1, thread_name_prefix="memollm-helper")
            return self._helper

    def _drain(self) -> None:
        self._drain_is_due = False
        self.flush()

    def settle(self) -> None:
        """Wait until the helper has done what was handed in before."""
        with suppress(RuntimeError):
            self._helped().submit(int).result()

    def close(self) -> None:
        """Let the helper go."""
        with self._beginning:
            helper, self._helper = self._helper, None
        if helper is not None:
            helper.shutdown()
