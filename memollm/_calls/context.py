"""The context managers that say who reads, and how: `namespace`, `run`, `cell`, `mode`, `lane`, `budget`, `track`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from memollm._calls.blocks import block
from memollm._calls.configuration import configuration, require_amounts, require_mode, require_name
from memollm._draws.replay import THEN, Replay
from memollm._draws.scope import NOWHERE, Cell, Scope, scope
from memollm._spending.budget import Budget
from memollm._spending.track import Track, Tracking
from memollm._types.calls import NAMESPACES, RUNS
from memollm._types.suggest import did_you_mean
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable


def _here() -> Scope:
    """Return what the context managers around the running code say."""
    return scope.get() or NOWHERE


@contextmanager
def namespace(name: str, *, resume: bool = False) -> Generator[None]:
    """Draw as the named reader inside the block, in this task or thread and those that it starts with its context.

    With `resume=True` what it drew before this run is read again first, from its start, and then it goes on. A run does
    so once, however many blocks, threads and processes of it there are.
    """
    require_name("namespace", name)
    # Whoever names another reader inside a replay draws as that reader.
    with block(f"namespace({name!r})", role=_here().role._replace(namespace=name, resumes=resume), replay=None):
        yield


@contextmanager
def run(id: str | None = None) -> Generator[str]:  # noqa: A002 - the user's word
    """Read as a run of its own inside the block, whatever namespace is named around it; with an id, as that run.

    A `namespace` inside the block, and `with_options(namespace=...)`, read as that namespace.
    """
    if id is not None:
        require_name("run", id)
    name = id or os.urandom(16).hex()
    role = _here().role._replace(run=name, namespace=None, resumes=False)
    with block(f"run({'' if id is None else repr(id)})", everywhere=name == current_run(), role=role, replay=None):
        yield name


@contextmanager
def cell(name: str, *, new: bool = False) -> Generator[str]:
    """Read from the start inside the block, in a lane named by it: a part of a program that is run again by itself.

    Cells draw different samples, and a cell that is run again, edited or not, is given its own again, in whichever
    process. What names a namespace draws as that namespace, as if there were no cell. The name of its lane is given.

    With `new=True` it draws what no cell has drawn, and goes on so whenever it is run.
    """
    require_name("cell", name)
    if "/" in name:
        raise OptionError(f'cell={name!r}: "/" stands between nested lanes, so a name cannot have it.')
    # Lanes that users name have no empty part, so no lane inside of the cell is the one of what is new.
    here = Cell(f"new in {name}", f"{name}//new") if new else Cell(os.urandom(16).hex(), name)
    role = _here().role._replace(run=None, cell=here)
    with block(f"cell({name!r})", opened_in=f"cell {name}", role=role):
        yield here.lane


@contextmanager
def mode(name: str) -> Generator[None]:
    """Draw in a mode inside the block: "auto", "offline", "refresh", "readonly", "off" or "resume"."""
    require_mode("mode", name)
    everywhere = name == configuration.get("mode")
    with block(f"mode({name!r})", everywhere=everywhere, role=_here().role._replace(mode=name)):
        yield


@contextmanager
def lane(name: str, *, of: Iterable[str] = ()) -> Generator[str]:
    """Draw in a lane inside the block, and give its full name: lanes nest, as in "agent-3/critic".

    Draws of one lane are in the order of its own program. Which samples a lane got is recorded with the namespace (for
    runs, with all runs), so that a rerun or a replay gives every lane the same, whatever the timing.

    With `of`, the names of all the lanes of a program in an order, the first run is the same whatever the timing, too:
    of each call the first lane gets the first sample, the second the second, and so on, round by round.
    """
    order = tuple([of] if isinstance(of, str) else of)
    for each in (name, *order):
        require_name("lane", each)
        if "/" in each:
            raise OptionError(f'lane={each!r}: "/" stands between nested lanes, so a name cannot have it.')
    if order and (name not in order or len({*order}) < len(order)):
        what = "is not among them" if name not in order else "has a name twice"
        raise OptionError(f"lane={name!r}, of={list(order)}: the lane {what}. Give every lane of the order once.")
    outer = _here().lane
    prefix = "" if outer is None else f"{outer}/"
    with block(f"lane({name!r})", lane=prefix + name, order=tuple(prefix + each for each in order)):
        yield prefix + name


@contextmanager
def budget(*, cost: float | None = None, calls: int | None = None, unknown: str = "error") -> Generator[Budget]:
    """Let the draws of a block spend at most so many dollars, or make so many calls; what is stored is free.

    The draw that would exceed it raises `BudgetExceeded` before anything is called. Calls are counted exactly. What a
    call will cost is not known before: it is taken to cost what the dearest of its function in the block did, so the
    first calls of a function, and calls that cost more than any before, can go beyond the limit by what they cost.

    A limit of dollars cannot hold where nobody knows what a call cost. The answer of such a call is kept and given;
    the next draw that would call raises `UnknownCost`, or warns once with `unknown="warn"`, or goes on with "ignore".
    """
    require_amounts("budget()", cost=cost, calls=calls, unknown=unknown)
    limited = Budget(cost=None if cost is None else float(cost), calls=calls, unknown=unknown)
    with block("budget(...)", budgets=(*_here().budgets, limited)):
        yield limited


@contextmanager
def track() -> Generator[Track]:
    """Collect what is drawn inside the block, in this task or thread and those that it starts with its context."""
    tracked = Track()
    with block("track()", watchers=(*_here().watchers, Tracking(tracked))):
        yield tracked


class Overheard:
    """As `track()`, for what no user has opened: a thread that draws outside of it misses nothing, so none is told."""

    __slots__ = ("_token",)

    def __enter__(self) -> Track:
        tracked, here = Track(), _here()
        self._token = scope.set(here._replace(watchers=(*here.watchers, Tracking(tracked))))
        return tracked

    def __exit__(self, *_: object) -> None:
        scope.reset(self._token)


@contextmanager
def replay(namespace: str, *, then: str = "raise") -> Generator[None]:
    """Read inside the block what a namespace drew, from its start, without moving its cursor.

    Past what it drew of a call, `ReplayExhausted` is raised; with `then="draw"` draws go on as the namespace's own.
    Every lane reads what it drew itself.
    """
    require_name("namespace", namespace)
    if then not in THEN:
        raise OptionError(f"then={then!r}{did_you_mean(str(then), THEN)}")
    reading = Replay(namespace, goes_on=then == "draw")
    role = _here().role._replace(namespace=namespace, resumes=False if reading.goes_on else None)
    with block(f"replay({namespace!r})", role=role, replay=reading):
        yield


# Runs.


def current_run() -> str:
    """Return the id of the run that this process belongs to.

    Every process that multiprocessing starts inherits the authentication key of its parent, whatever the start method,
    and the main process's is random: so a digest of it names a run, and no state has to be handed on.
    """
    return os.environ.get("MEMOLLM_RUN") or current_program()


def current_program() -> str:
    """Return the id that the processes of this program share: itself, and the children of its multiprocessing."""
    import hashlib
    from multiprocessing.process import current_process

    return hashlib.blake2b(bytes(current_process().authkey), digest_size=16, person=b"memollm-run").hexdigest()


def reader_name(*, namespace: str | None, run: str | None) -> str:
    """Return the name under which a store knows a reader."""
    return f"{NAMESPACES}{namespace}" if namespace is not None else f"{RUNS}{run or current_run()}"
