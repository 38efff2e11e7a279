"""Draws driven by hand, step by step and in any order, with answers, refusals, failures, cancellations and outages."""

import itertools
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from memollm._draws.desk import Debt, Desk
from memollm._draws.effects import Await, Paid, Run
from memollm._draws.engine import Engine
from memollm._draws.flow import Draw
from memollm._draws.plan import Plan
from memollm._draws.resuming import Resuming
from memollm._draws.scope import Role
from memollm._drive.course import dropped
from memollm._spending.accounts import Books, Keeper
from memollm._spending.meter import Meter
from memollm._types.calls import Want, resuming
from memollm._types.requests import Take, Write
from memollm.errors import StoreUnavailable
from memollm.stores.memory.store import MemoryStore
from memollm.testing import NOON, FakeClock
from memollm.testing._bench import call

CALL = call()
REFUSED = -1
numbers = st.integers(0, 50)

pytestmark = pytest.mark.filterwarnings("ignore::memollm.errors.NotStoredWarning")


class Failed(Exception):
    pass


class NumberCodec:
    has_key = True

    def encode(self, value, *_):
        return b"%d" % value

    def decode(self, record, *_):
        return int(record)


class FailingStore(MemoryStore):
    down = False

    def perform(self, requests):
        refused = [self.down and isinstance(request, Write) for request in requests]
        answers = iter(super().perform([request for request, no in zip(requests, refused, strict=True) if not no]))
        return [StoreUnavailable("The disk is full.") if no else next(answers) for no in refused]


@dataclass
class Flying:
    """A draw under way and the effect that it waits at."""

    draw: Draw | Resuming
    want: Want
    steps: object
    effect: object = None
    flights: list = field(default_factory=list)
    unstored: set = field(default_factory=set)
    """Slots whose answers came while the store was down: they are given, and others may fill the slots."""


class Draws(RuleBasedStateMachine):
    """The model of what must hold is in `_delivers` and `_runs`; the rest is driving."""

    @initialize()
    def begin(self):
        self.store = FailingStore()
        self.engine = Engine(self.store, NumberCodec(), FakeClock())
        # No thread: what is owed is paid by the next who writes or draws.
        self.engine.desk = Desk(self.store, lambda: None)
        self.engine.insist = lambda *owed: self.engine.desk.debts.append(Debt(*owed))
        self.engine.keeper = Keeper(self.store, lambda: None, self.engine.clock)
        self.answers = itertools.count()
        self.paid = 0
        self.lost = 0
        self.flying: list[Flying] = []
        self.left: list[tuple[Run, list]] = []
        """Calls that go on without their draw."""
        self.delivered: dict[str, Counter] = {}
        self.resumable: set | None = None
        """What a had been given when a run began to resume it."""

    # Driving.

    @rule(
        reader=st.sampled_from(["a", "a", "b", None]),
        n=st.integers(1, 4),
        pool=st.sampled_from([None, None, 2, 3]),
        together=st.booleans(),
    )
    def draw(self, reader, n, pool, together):
        self._begin(Want(CALL, reader, min(n, pool or n), pool), together)

    @rule(n=st.integers(1, 4), together=st.booleans())
    def resume(self, n, together):
        """Draw in a run that resumes a."""
        if self.resumable is None:
            self.resumable = {*self.delivered.get("a", ())}
        self._begin(Want(CALL, "a", n, None), together, resumes=resuming("run", "a"))

    def _begin(self, want, together, resumes=None):
        reader = want.reader
        books = Books(self.engine.keeper, reader, reader, "run")
        plan = Plan(
            engine=self.engine,
            keyer=None,
            books=books,
            role=Role(),
            reader=reader,
            run="run",
            together=together,
            accept=lambda value: value >= 0,
            resumes=resumes,
        )
        draw = Resuming(plan, (want,), None, rekey=lambda: (want,)) if resumes else Draw(plan, (want,))
        flying = Flying(draw, want, draw.flow())
        self.flying.append(flying)
        self._go_on(flying, flying.steps.send, None)

    def _go_on(self, flying, step, given):
        """Perform effects until the draw ends, or waits for the model or for another draw."""
        while True:
            try:
                effect = step(given)
            except StopIteration as end:
                self.flying.remove(flying)
                self._delivers(flying, end.value)
                return
            except Failed:
                self.flying.remove(flying)
                return
            if isinstance(effect, (Run, Await)):
                self._waits(flying, effect)
                return
            step, given = self._performed(effect, flying.steps)

    def _waits(self, flying, effect):
        flying.effect = effect
        if isinstance(effect, Run):
            flying.flights = [list(batch) for batch in effect.flights]
            self._runs(flying)

    def _performed(self, effect, steps):
        try:
            answer = self.engine.desk.perform(effect)
        except StoreUnavailable as error:
            return steps.throw, error
        return steps.send, answer

    def _land(self, flying, values):
        """Let the first batch of a run return, and go on when all have."""
        batch = flying.flights.pop(0)
        self._drive(flying.effect.land(batch, values, Paid(NOON, Meter(), values)))
        if not flying.flights:
            self._go_on(flying, flying.steps.send, None)

    def _drive(self, flow):
        step, given = flow.send, None
        while True:
            try:
                effect = step(given)
            except StopIteration:
                return
            step, given = self._performed(effect, flow)

    # What happens to draws.

    def running(self):
        return [flying for flying in self.flying if isinstance(flying.effect, Run)]

    @precondition(lambda self: self.running())
    @rule(which=numbers)
    def answer(self, which):
        running = self.running()
        self._answer(running[which % len(running)])

    @precondition(lambda self: self.running())
    @rule(which=numbers)
    def refuse(self, which):
        running = self.running()
        self._answer(running[which % len(running)], refused=True)

    def _answer(self, flying, *, refused=False):
        values = [REFUSED if refused else next(self.answers) for _ in flying.flights[0]]
        self.paid += 0 if refused else len(values)
        self._land(flying, values)

    @precondition(lambda self: self.running())
    @rule(which=numbers)
    def answer_while_the_store_is_down(self, which):
        running = self.running()
        flying = running[which % len(running)]
        self.store.down = True
        self.lost += len(flying.flights[0])
        flying.unstored.update(gap.slot for gap in flying.flights[0])
        try:
            self._answer(flying)
        finally:
            self.store.down = False

    @precondition(lambda self: self.flying)
    @rule(which=numbers)
    def fail(self, which):
        """Let the function raise, or cancel the draw while it waits."""
        flying = self.flying[which % len(self.flying)]
        self._go_on(flying, flying.steps.throw, Failed())

    @precondition(lambda self: self.running())
    @rule(which=numbers, stay=st.integers(1, 4))
    def leave(self, which, stay):
        """Cancel a draw of which some calls have begun, and go on (P13)."""
        running = self.running()
        flying = running[which % len(running)]
        going_on = flying.flights[:stay]
        flying.effect.leave(going_on)
        self.left += [(flying.effect, flight) for flight in going_on]
        self._go_on(flying, flying.steps.throw, Failed())

    @precondition(lambda self: self.left)
    @rule(which=numbers, how=st.sampled_from(["answers", "answers", "refused", "fails", "is dropped"]))
    def end(self, which, how):
        """Let a call end that nobody waits for."""
        run, flight = self.left.pop(which % len(self.left))
        if how in {"answers", "refused"}:
            values = [REFUSED if how == "refused" else next(self.answers) for _ in flight]
            self.paid += len(values) if how == "answers" else 0
            self._drive(run.land(flight, values, Paid(NOON, Meter(), values)))
        else:
            run.failed(Failed())
        if how == "is dropped":
            dropped(run.end(flight))
        else:
            self._drive(run.end(flight))

    def woken(self):
        return [
            flying
            for flying in self.flying
            if isinstance(flying.effect, Await) and all(signal.is_set() for signal in flying.effect.signals)
        ]

    @precondition(lambda self: self.woken())
    @rule(which=numbers)
    def wake(self, which):
        woken = self.woken()
        flying = woken[which % len(woken)]
        self._go_on(flying, flying.steps.send, None)

    # What must hold.

    def _runs(self, flying):
        """No two live draws ask the model for one slot, and nobody asks for a stored one (P4, P5)."""
        mine = {gap.slot for batch in flying.flights for gap in batch}
        others = {
            gap.slot for other in self.running() if other is not flying for batch in other.flights for gap in batch
        }
        assert not mine & others
        assert not mine & {gap.slot for _, flight in self.left for gap in flight}
        assert not mine & set(self.store.peek(CALL))

    def _delivers(self, flying, values):
        """As many are given as were asked for; a reader gets no sample twice but by its pool (P1, P2)."""
        assert len(values) == flying.want.n
        if flying.want.reader is None:
            stored = {slot: int(sample.record) for slot, sample in self.store.peek(CALL).items()}
            assert all(
                stored.get(slot, value) == value
                for slot, value in enumerate(values)
                if value != REFUSED and slot not in flying.unstored
            )
        elif flying.want.pool is None:
            name = "resumed" if isinstance(flying.draw, Resuming) else flying.want.reader
            seen = self.delivered.setdefault(name, Counter())
            seen.update(value for value in values if value != REFUSED)
            assert not seen or max(seen.values()) == 1
            # What comes both in the run that resumes and as ever had been given before.
            given = self.delivered.get("a", Counter()).keys() & self.delivered.get("resumed", Counter()).keys()
            assert given <= (self.resumable or set())

    def teardown(self):
        """Every draw that is left can end; then all that was paid for is stored, without a gap (P3, P7)."""
        if not hasattr(self, "store"):
            return
        while self.left:
            self.end(0, "answers")
        while self.flying:
            ready = self.woken() or self.running()
            assert ready, "every draw waits for another"
            flying = ready[0]
            if isinstance(flying.effect, Run):
                self._answer(flying)
            else:
                self._go_on(flying, flying.steps.send, None)
        self.engine.desk.flush()
        stored = self.store.peek(CALL)
        assert self.paid - self.lost == len(stored)
        assert len({sample.record for sample in stored.values()}) == len(stored)
        assert not self.store._content.claims
        assert not self.store._in_flight
        for name in ("a", "b"):
            drawn = sum(reader.draws for reader in self.store.looking.readers() if reader.name == name)
            ticket = self.store.flights.depart()
            ((taken,),) = self.store.perform([Take(ticket, [Want(CALL, name, drawn + 500, None)])])
            free = list(taken.positions)
            assert free == sorted(free)
            assert len(free) + drawn == free[-1] + 1


TestDraws = Draws.TestCase
TestDraws.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestDraws.pytestmark = pytestmark


# Single stories that the machine told.


def begun():
    draws = Draws()
    draws.begin()
    return draws


def draw(draws, n=1, reader="a"):
    draws.draw(reader=reader, n=n, pool=None, together=False)


def test_delivered_position_is_not_drawn_again_after_an_outage():
    """What was delivered while it could not be settled stays delivered (P1)."""
    draws = begun()
    draw(draws, n=2)
    draws.answer(0)
    draws.answer_while_the_store_is_down(0)
    draw(draws)
    assert [flying.want.n for flying in draws.running()] == [1]
    draws.teardown()


def test_unreadable_sample_gives_its_position_back():
    """A draw whose stored sample cannot be read delivers nothing, whether it was all stored or not (P3)."""
    for n in (1, 2):
        draws = begun()
        draw(draws, reader=None)
        draws.answer(0)
        decode, draws.engine.codec.decode = draws.engine.codec.decode, lambda *_, **__: (_ for _ in ()).throw(Failed)
        draw(draws, n)
        while draws.running():
            draws.answer(0)
        draws.engine.codec.decode = decode
        (reader,) = draws.store.looking.readers()
        assert reader.draws == 0
        draw(draws, n)
        assert not draws.flying
        draws.teardown()


def test_refused_slot_is_let_go_of_before_waiting():
    """A draw whose answer was refused lets the others have the slot while it waits for another (P5)."""
    draws = begun()
    draw(draws, reader="b")
    draw(draws, n=2, reader="a")
    draw(draws, n=2, reader=None)
    _, of_a, waiting = draws.flying
    draws._answer(of_a, refused=True)
    claimed = {place.slot for place in draws.store._content.claims}
    assert isinstance(of_a.effect, Await)
    draws.teardown()
    assert waiting not in draws.flying
    assert 1 not in claimed
