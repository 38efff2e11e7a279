"""Durations are read as users write them, and what is none is refused with the way out."""

from datetime import timedelta

import pytest

from memollm import OptionError
from memollm._types.durations import seconds_of


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (90, 90),
        (0.5, 0.5),
        (timedelta(days=1, seconds=1), 86401),
        ("90s", 90),
        ("15m", 900),
        ("15 Min", 900),
        ("1y", 31557600),
        ("12h", 43200),
        ("7d", 604800),
        (" 1.5 W ", 907200),
        (".5d", 43200),
    ],
)
def test_duration_is_read(written, seconds):
    """Seconds, timedeltas and a number with a unit mean what they say."""
    assert seconds_of("ttl", written) == seconds


@pytest.mark.parametrize(
    "wrong",
    [
        *(0, -1, True, None, [], float("nan"), float("inf"), 10**400, timedelta(0), timedelta(days=-1)),
        *("", "0s", "-7d", "7", "7 days", "d", "1e3s", "٣d"),
    ],
)
def test_what_is_no_duration_is_refused(wrong):
    """Anything else is an error that names the option, the value and how to write one."""
    with pytest.raises(OptionError, match=r"^ttl=.* is no length of time\. Give seconds .*7d"):
        seconds_of("ttl", wrong)
