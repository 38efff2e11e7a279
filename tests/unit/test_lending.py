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


def opcode(frame):
    return dis.opname[frame.f_code.co_code[frame.f_lasti]]


def interrupted(work, at):
    """Interrupt work at its moment of a number, of those at which Python handles signals; tell whether that came."""
    count, last = itertools.count(), {}

    def trace(frame, event, _):
        if frame.f_code.co_filename != module.__file__ or frame.f_code.co_name == "__del__":
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            before, last[frame] = last.get(frame, "RESUME"), opcode(frame)
            # A call that has raised is followed by the handler of that, and by no signal.
            if before.startswith(("CALL", "RESUME")) and last[frame] != "PUSH_EXC_INFO" and next(count) == at:
                raise KeyboardInterrupt
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
        assert lending.permits.qsize() == 1
        with lending.lent() as connection:
            assert connection not in lending.ended
            assert lending._lent == {connection}
        if not was_interrupted:
            break
    assert at > 10


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
