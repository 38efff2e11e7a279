"""What a program under test draws: the ways of drawing, and the log of what they were given."""

from __future__ import annotations

import asyncio
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice

import memollm
from memollm import CacheMiss, ReplayExhausted, StoreClosed

from .functions import ModelFailed, answer_of, operation
from .logs import new_name

EXPECTED = (ModelFailed, KeyboardInterrupt, asyncio.CancelledError, StoreClosed)
slots_given: ContextVar[list | None] = ContextVar("slots_given", default=None)


@dataclass
class Operation:
    """Something that is drawn, and by whom."""

    how: str
    kind: str
    prompts: list[str]
    """One for each sample that is asked for."""
    reader: str
    mode: str = "auto"
    got: list = field(default_factory=list)
    """The answers that were given, each with its prompt."""
    is_left: bool = False
    """It was left before its end, as somebody may."""


@contextmanager
def reading(reader):
    """Read as a namespace, or as a run."""
    kind, _, name = reader.partition(":")
    with memollm.run(name) if kind == "run" else memollm.namespace(name):
        yield


@contextmanager
def logged(log, op):
    """Write down what is asked for, and what was given; what may go wrong is no more than that."""
    name = new_name()
    token, slots = operation.set(name), slots_given.set([])
    log.say(what="begin", operation=name, **{k: v for k, v in vars(op).items() if k not in {"got", "is_left"}})
    outcome = {"why": None}
    try:
        yield
    except BaseException as error:
        outcome = {"why": type(error).__name__, "text": str(error)[:200]}
        if not isinstance(error, EXPECTED) and not (op.mode == "replay" and isinstance(error, CacheMiss)):
            raise
    finally:
        given = slots_given.get() if op.how not in {"map", "as they come"} else []
        log.say(what="end", operation=name, got=op.got, left=op.is_left, slots=given, **outcome)
        slots_given.reset(slots)
        operation.reset(token)


def note_slot(event):
    """Know of which slot a sample is that a draw gives."""
    slots = slots_given.get()
    if slots is not None:
        slots.append(event.slot)


@contextmanager
def in_mode(op):
    """Draw as it is said."""
    if op.mode == "replay":
        with memollm.replay(op.reader.partition(":")[2]):
            yield
    else:
        with reading(op.reader), memollm.mode(op.mode):
            yield


# What is drawn. A list is delivered when it is returned; what comes one by one is delivered one by one.


def draw(functions, op):
    """Draw in this thread."""
    function, prompts, got = functions[op.kind][0], op.prompts, op.got
    if op.how == "map":
        items = list(dict.fromkeys(prompts)) if op.kind == "many" else prompts
        given = function.map([[item] for item in items] if op.kind == "batch" else items, progress=False, concurrency=4)
        got += zip(prompts, _flat(op.kind, given), strict=True)
    elif op.how == "as they come":
        coming = function.map(prompts, progress=False, as_completed=True, concurrency=3)
        for at, answer in islice(coming, _until(op)):
            got.append((prompts[at], answer))
        coming.close()
    elif op.kind == "tell":
        _listen(function(prompts[0]), op)
    elif op.kind == "many":
        got += zip(prompts, function(prompts[0], k=len(prompts)), strict=True)
    elif op.kind == "batch":
        got += zip(prompts, function(prompts), strict=True)
    elif len(prompts) == 1:
        answer = function(prompts[0])
        got.append((prompts[0], answer))
    else:
        got += zip(prompts, function.draw(len(prompts), prompts[0]), strict=True)


def _listen(stream, op):
    chunks = []
    for chunk in stream:
        chunks.append(chunk)
        if op.is_left:
            break
    else:
        op.got.append((op.prompts[0], answer_of(chunks)))
    stream.close()


def _flat(kind, given):
    return [answer for some in given for answer in some] if kind in {"many", "batch"} else given


def _until(op):
    return len(op.prompts) // 2 if op.is_left else None


async def draw_async(functions, op):
    """Draw in this task."""
    function, prompts, got = functions[op.kind][1], op.prompts, op.got
    if op.how == "map":
        items = list(dict.fromkeys(prompts)) if op.kind == "many" else prompts
        items = [[item] for item in items] if op.kind == "batch" else items
        got += zip(prompts, _flat(op.kind, await function.map(items, progress=False, concurrency=4)), strict=True)
    elif op.how == "as they come":
        coming, until = function.map(prompts, progress=False, as_completed=True, concurrency=3), _until(op)
        async for at, answer in coming:
            got.append((prompts[at], answer))
            if len(got) == until:
                break
        await coming.aclose()
    elif op.kind == "tell":
        await _listen_async(function(prompts[0]), op)
    elif op.kind == "many":
        got += zip(prompts, await function(prompts[0], k=len(prompts)), strict=True)
    elif op.kind == "batch" and op.how == "one":
        got.append((prompts[0], await function.one(prompts[0])))
    elif op.kind == "batch":
        got += zip(prompts, await function(prompts), strict=True)
    elif len(prompts) == 1:
        got.append((prompts[0], await function(prompts[0])))
    else:
        got += zip(prompts, await function.draw(len(prompts), prompts[0]), strict=True)


async def _listen_async(stream, op):
    chunks = []
    async for chunk in stream:
        chunks.append(chunk)
        if op.is_left:
            break
    else:
        op.got.append((op.prompts[0], answer_of(chunks)))
    await stream.aclose()


def one(function, op):
    """Draw one sample, in whichever way its function gives one."""
    match op.kind:
        case "batch":
            (answer,) = function([op.prompts[0]])
        case "many":
            (answer,) = function(op.prompts[0], k=1)
        case "tell":
            answer = answer_of(list(function(op.prompts[0])))
        case _:
            answer = function(op.prompts[0])
    op.got.append((op.prompts[0], answer))


def replay_all(functions, op):
    """Read all that a namespace drew of a call, in this thread."""
    function = functions[op.kind][0]
    for _ in range(1000):
        try:
            one(function, op)
        except ReplayExhausted:
            break


def choose(dice, readers, prompts, *, is_async, refreshes):
    """Choose what is drawn next."""
    how, kind = dice.choice(HOWS if not is_async else HOWS_ASYNC)
    n = {"one": 1, "some": dice.randint(2, 3), "map": dice.randint(2, 8), "as they come": dice.randint(2, 8)}[how]
    prompt = dice.choice(prompts)
    asked = [prompt] * n
    if how in {"map", "as they come"} or kind == "batch":
        asked = [dice.choice(prompts) for _ in range(n)]
    if kind == "many" and how == "map":
        # A call of it gives two.
        asked = [each for each in dice.sample(prompts, min(n, len(prompts))) for _ in range(2)]
    mode = "refresh" if refreshes and dice.random() < 0.1 else "auto"
    leaves = ((how == "as they come" and n > 3) or kind == "tell") and dice.random() < 0.3
    return Operation(how, kind, asked, dice.choice(readers), mode, is_left=leaves)


HOWS = [
    *[("one", "ask")] * 6,
    *[("some", "ask")] * 3,
    ("one", "memo"),
    ("one", "few"),
    ("some", "few"),
    ("some", "many"),
    ("some", "batch"),
    ("one", "batch"),
    *[("one", "tell")] * 3,
    *[("map", "ask")] * 2,
    ("map", "many"),
    ("map", "batch"),
    *[("as they come", "ask")] * 2,
]
HOWS_ASYNC = [*HOWS, *[("one", "batch")] * 5, *[("one", "ask")] * 6]


def tell_warnings(log):
    """Have warnings written into the log."""

    def told(message, category, *_):
        log.say(what="warning", category=category.__name__, text=str(message)[:300], operation=operation.get())

    warnings.simplefilter("always")
    # To fork beside threads is what it is about.
    warnings.filterwarnings("ignore", ".*use of fork", DeprecationWarning)
    warnings.showwarning = lambda message, category, *rest: told(message, category)
