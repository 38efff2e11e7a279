"""The command that looks for what could be wrong."""

from __future__ import annotations

import os
import platform
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memollm import __version__
from memollm._cache import Cache
from memollm._calls.configuration import OTHER_VARIABLES, PREFIX, SETTINGS, configuration
from memollm._calls.engines import require_place
from memollm._types.secret import masked_url, veiled
from memollm._values.signing import VARIABLE, key_file
from memollm.cli._checks import (
    NOTE,
    OK,
    OTHERS,
    WRONG,
    CheckResult,
    check_files,
    check_place,
    check_sqlite,
    check_users,
)
from memollm.cli._options import command, json_option
from memollm.cli._output import list_json, say, say_wrapped
from memollm.cli._place import chosen
from memollm.errors import MemollmError
from memollm.stores.looking import looking
from memollm.stores.sqlite.files import Files

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
    yield from check_sqlite()
    yield from _of_cache()
    yield from _of_signing_key()
    yield from _of_configuration()


def _of_cache() -> Iterator[CheckResult]:
    try:
        place, by = chosen()
    except MemollmError as error:
        yield CheckResult("cache", WRONG, str(error))
        return
    if "://" in place:
        yield _of_server(place, by)
        return
    if place == "memory:":
        yield CheckResult("cache", NOTE, f"{place} ({by}) is not a file")
        return
    files = Files(Path(place))
    yield CheckResult("cache", OK, f"{files.folder} ({by})")
    yield from check_place(files)
    yield from check_files(files)
    yield from check_users(files)


def _of_server(place: str, by: str) -> CheckResult:
    """Tell whether a server answers."""
    shown = masked_url(place)
    try:
        require_place(place)
        with Cache(place) as cache:
            readers = len(looking(cache.store).readers())
    except MemollmError as error:
        return CheckResult("cache", WRONG, f"{shown} ({by}): {error}")
    return CheckResult("cache", OK, f"{shown} ({by}) answers, and knows {readers:,} readers")


def _of_signing_key() -> Iterator[CheckResult]:
    path = key_file()
    if os.environ.get(VARIABLE):
        yield CheckResult("signing key", OK, f"from {VARIABLE}")
    if not path.is_file():
        yield CheckResult("signing key", OK, f"{path} is not there yet; the first answer that needs one makes it")
    elif os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & OTHERS:
        yield CheckResult(
            "signing key", WRONG, f"other users can reach {path}; if nobody has used it, `chmod 600` it, else delete it"
        )
    else:
        yield CheckResult("signing key", OK, str(path))


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
