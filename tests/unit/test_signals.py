"""What a signal handler raises is told from what fails by itself."""

from __future__ import annotations

import signal
from functools import partial

import pytest

from memollm._types.signals import is_by_signal, pass_on

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals")


class Alarm:
    def handle(self, *_):
        raise TimeoutError("too late")

    def __call__(self, *_):
        self.handle()


def raised(work):
    try:
        work()
    except TimeoutError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    "handler",
    [lambda *_: Alarm().handle(), Alarm().handle, Alarm(), partial(Alarm().handle, "it")],
    ids=["function", "method", "object", "partial"],
)
def test_an_error_of_a_handler_is_known(handler):
    """Whatever kind of callable the handler is, and however deep it raises."""
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        interrupted = raised(lambda: signal.raise_signal(signal.SIGUSR1))
        assert is_by_signal(interrupted)
        with pytest.raises(TimeoutError) as passed_on:
            pass_on(interrupted)
        assert passed_on.value is interrupted
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_fails_by_itself_is_no_interrupt():
    """The same error, raised by what was called, is that one's failure."""
    failed = raised(Alarm().handle)
    assert not is_by_signal(failed)
    pass_on(failed)
