"""Connections are lent to one thread at a time, and none is lost where a thread is interrupted."""

import dis
import gc
import itertools
import sys
import threading
from contextlib import suppress

import pytest

from memollm.stores import lending as module
from memollm.stores.lending import Lending


class Lent(Lending):
    """Lends numbers."""

    def __init__(self, most):
        super().__init__(most)
        self.numbers = itertools.count(1)
        self.ended = []

    def connect(self):
        return next(self.numbers)

    def end(self, connection):
        self.ended.append(connection)

    def leave(self, connection):
        self.ended.append(connection)


def lent_by(lending):
    """Return what is lent."""
    return [place.connection for place in lending._places if place.connection is not None]


def opcode(frame):
    return dis.opname[frame.f_code.co_code[frame.f_lasti]]


def interrupted(work, at):
    """Interrupt work at its moment of a number, of those at which Python handles signals; tell whether that came."""
    count, last = itertools.count(), {}

    def trace(frame, event, _):
        if frame.f_code.co_filename != module.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            before, last[frame] = last.get(frame, "RESUME"), opcode(frame)
            # A call that has raised is followed by the handler of that, and by no signal.
            if (
                before.startswith(("CALL", "RESUME", "JUMP_BACKWARD"))
                and last[frame] != "PUSH_EXC_INFO"
                and next(count) == at
            ):
                raise KeyboardInterrupt
        elif event == "return":
            # A frame keeps what it has, also a loan that nobody has any more.
            last.pop(frame, None)
        return trace

    before = sys.gettrace()
    # Some Pythons trace no opcodes unless a frame has asked for that before.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
        last.clear()
    return False


def lose(lending):
    """Lose a permit with the connection that is lent by it, as whoever is interrupted twice does."""
    loan = lending.lent()
    return loan.__enter__()


@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_at_whatever_moment_loses_no_place(fails):
    """The next thread is lent a connection, however the one before was interrupted (P7)."""

    def work():
        with lending.lent():
            if fails:
                raise ConnectionError

    def works():
        with suppress(ConnectionError):
            work()

    for at in itertools.count():
        lending = Lent(1)
        was_interrupted = interrupted(works, at)
        gc.collect()
        lending.replace_lost()
        assert not lending.permits.empty()
        with lending.lent() as connection:
            assert connection not in lending.ended
            assert lent_by(lending) == [connection]
        assert lending.permits.qsize() == 1
        if not was_interrupted:
            break
    assert at > 5


@pytest.mark.parametrize("loses", [False, True])
def test_an_interrupt_while_a_lost_place_is_replaced_loses_none(loses):
    """Whoever looks for lost places, or waits for one, leaves one too many at worst, and none too few (P7)."""

    def work():
        if loses:
            lose(lending)
        with lending.lent():
            pass

    for at in itertools.count():
        lending = Lent(1)
        lost = lose(lending)
        was_interrupted = interrupted(work, at)
        gc.collect()
        lending.replace_lost()
        assert not lending.permits.empty()
        with lending.lent() as connection:
            assert connection != lost
            assert lent_by(lending) == [connection]
        assert lending.permits.qsize() in ({1, 2} if was_interrupted else {1})
        if not was_interrupted:
            break
    assert lost in lending.ended
    assert at > 20


def test_threads_that_look_at_one_time_replace_a_lost_place_once():
    """Whoever finds that another has replaced it puts nothing in its place."""
    lending, steps = Lent(2), []

    class Places(list):
        def remove(self, place):
            if not steps:
                steps.append(place)
                lending.replace_lost()
            super().remove(place)

    lost = lose(lending)
    lending._places = Places(lending._places)
    lending.replace_lost()
    assert len(steps) == 1
    assert lending.permits.qsize() == len(lending._places) == 2
    assert lending.ended == [lost]


def test_a_place_that_is_lost_while_all_wait_is_replaced(monkeypatch):
    """Who waits looks now and then for what was lost meanwhile."""
    monkeypatch.setattr(module, "LOOKS_EVERY", 0.001)
    lending, given, loan = Lent(1), [], None

    def wait():
        with lending.lent() as connection:
            given.append(connection)

    loan = lending.lent()
    loan.__enter__()
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    del loan
    thread.join(30)
    assert given == [2]
    assert lending.ended == [1]


def test_a_place_that_is_lost_in_a_circle_is_replaced(monkeypatch):
    """An error keeps the loan in whose middle it was raised, and may be part of a circle of references."""
    monkeypatch.setattr(module, "LOOKS_EVERY", 0.001)
    lending = Lent(1)
    circle = [lending.lent()]
    circle[0].__enter__()
    circle.append(circle)
    gc.disable()
    try:
        del circle
        with lending.lent() as connection:
            assert connection == 2
    finally:
        gc.enable()
    assert lending.ended == [1]


def test_a_lost_connection_is_ended_when_another_is_made():
    """It does not stay open until all places are taken."""
    lending = Lent(3)
    lost = lose(lending)
    with lending.lent() as another:
        assert lending.ended == [lost]
        assert another != lost
    lost = lose(lending)
    lending.close()
    assert lending.ended == [1, lost]


def test_a_forked_child_lets_go_of_what_is_lent():
    """What other threads have when a process forks is the parent's, too, as what is idle and what was lost."""
    lending = Lent(3)
    lose(lending)
    with lending.lent() as one, lending.lent() as two:
        pass
    with lending.lent():
        lending.ended.clear()
        lending.leave_to_parent()
    assert sorted(lending.ended) == [one, two]


def test_one_that_has_failed_is_not_lent_again():
    """What is lent next is the one that was brought back last, or a new one in the place of one that failed."""
    lending = Lent(2)
    with lending.lent() as one, lending.lent() as two:
        assert (one, two) == (1, 2)
    with pytest.raises(ConnectionError), lending.lent() as again:
        raise ConnectionError
    assert again == one
    assert lending.ended == [one]
    with lending.lent() as first, lending.lent() as second:
        assert {first, second} == {two, 3}


def test_a_connection_that_cannot_be_made_takes_no_place():
    """However often it fails, and whoever keeps the errors, the next attempt is made at once."""
    lending, errors = Lent(1), []

    def fail():
        raise ConnectionError

    making, lending.connect = lending.connect, fail
    for _ in range(3):
        assert lending.permits.qsize() == 1
        try:
            with lending.lent():
                pass
        except ConnectionError as error:
            errors.append(error)
    assert len(errors) == 3
    lending.connect = making
    with lending.lent() as connection:
        assert connection == 1


def test_no_more_are_lent_than_there_may_be():
    """Who comes when all are lent waits for one that is brought back."""
    lending, given = Lent(1), []

    def wait():
        with lending.lent() as connection:
            given.append(connection)

    thread = threading.Thread(target=wait)
    with lending.lent() as first:
        thread.start()
        assert given == []
    thread.join(30)
    assert given == [first]


def test_it_goes_when_nobody_needs_it():
    """Places that come back by themselves keep nothing alive."""
    made = [Lent(3)]
    seen = module.weakref.ref(made[0])
    made.clear()
    gc.collect()
    assert seen() is None
