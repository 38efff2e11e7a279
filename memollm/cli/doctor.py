"""The command that looks for what could be wrong."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Final

from memollm import __version__
from memollm._calls.configuration import OTHER_VARIABLES, PREFIX, SETTINGS, configuration
from memollm._calls.engines import MEMORY
from memollm._types.paths import absolute
from memollm._types.secret import masked_url, veiled
from memollm._upkeep.doctor import NOTE, OK, WRONG, CheckResult
from memollm._values.signing import VARIABLE
from memollm.cli._opening import looked_at
from memollm.cli._options import command, json_option
from memollm.cli._output import list_json, say, say_wrapped
from memollm.cli._place import chosen
from memollm.errors import MemollmError

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKS: Final = {OK: " ", NOTE: "~", WRONG: "!"}


@command("doctor")
@json_option
def doctor(*, as_json: bool) -> int:
    """Look for what could be wrong with the cache and its place.

    It changes nothing, and needs no cache to be there. A line that begins with ! is wrong, and the exit code is then 1;
    one with ~ is worth knowing. The samples themselves are checked by `memollm verify`.
    """
    findings = [finding._replace(text=veiled(finding.text)) for finding in _findings()]
    wrong = sum(finding.state == WRONG for finding in findings)
    if as_json:
        list_json(finding._asdict() for finding in findings)
    else:
        for finding in findings:
            say_wrapped(f"{MARKS[finding.state]} {finding.about}: {finding.text}")
        say(f"\n{wrong} wrong." if wrong else "\nNothing is wrong.")
    return 1 if wrong else 0


def _findings() -> Iterator[CheckResult]:
    yield CheckResult("memollm", OK, f"{__version__} on Python {platform.python_version()}, {platform.platform()}")
    yield from _of_cache()
    yield from _of_configuration()


def _of_cache() -> Iterator[CheckResult]:
    try:
        place, by = chosen()
        with looked_at(place) as cache:
            where = place if place == MEMORY or "://" in place else absolute(place)
            yield CheckResult("cache", OK, f"{_shown(where)} ({by})")
            yield from cache.doctor()
    except MemollmError as error:
        yield CheckResult("cache", WRONG, str(error))


def _of_configuration() -> Iterator[CheckResult]:
    try:
        for option in SETTINGS:
            value, origin = configuration.said(option)
            yield CheckResult(f"option {option}", OK, "not set" if value is None else f"{_shown(value)} (by {origin})")
    except MemollmError as error:
        yield CheckResult("configuration", WRONG, str(error))
    for variable in (PREFIX + name for name in OTHER_VARIABLES):
        if os.environ.get(variable) and variable != VARIABLE:
            yield CheckResult(f"variable {variable}", OK, _shown(os.environ[variable]))


def _shown(value: object) -> str:
    text = str(value)
    return masked_url(text) if "://" in text else text
