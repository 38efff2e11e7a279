"""The pytest plugin of memollm: tests that read recorded answers. What it needs is imported when a test is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from memollm import Cache

MODES = ("auto", "offline", "refresh", "off")
RECORDER = "memollm-recorder"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say what can be asked for."""
    group = parser.getgroup("memollm", "recorded answers of language models")
    group.addoption(
        "--memollm",
        choices=MODES,
        help="what to do where an answer is not recorded: auto calls and records, offline fails; refresh records all "
        "anew; off leaves memollm alone",
    )
    group.addoption(
        "--memollm-unused",
        choices=("list", "prune"),
        help="after a whole run: list the recorded answers that no test was given, or remove them",
    )
    parser.addini("memollm", "as --memollm, for every run", default="")
    parser.addini("memollm_on_change", "what to do when the code of a function has changed: new, warn, error, ignore")
    parser.addini("memollm_trust", "classes of which recordings may hold objects: openai.types.*", type="args")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers",
        "memollm(mode=, recording=, on_change=): record what memollm draws in this test, in recordings/ beside it",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Find out which tests are recorded; where none is, nothing more happens."""
    said = config.getoption("--memollm") or config.getini("memollm")
    if said and said not in MODES:
        raise pytest.UsageError(f"memollm = {said} in pytest's settings: it must be one of {', '.join(MODES)}.")
    if said == "off":
        return
    recorded = items if said else [item for item in items if _asks(item)]
    if recorded:
        recorder_of(config).items.update(recorded)


def _asks(item: pytest.Item) -> bool:
    return "memollm_cache" in getattr(item, "fixturenames", ()) or item.get_closest_marker("memollm") is not None


def recorder_of(config: pytest.Config) -> Any:
    """Return who records in this process."""
    recorder = config.pluginmanager.get_plugin(RECORDER)
    if recorder is None:
        from pytest_memollm.recorder import Recorder

        recorder = Recorder(config)
        config.pluginmanager.register(recorder, RECORDER)
    return recorder


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ARG001 - as pytest-xdist calls it
    """Take over what a process of pytest-xdist has recorded."""
    if told := getattr(node, "workeroutput", {}).get(RECORDER):
        recorder_of(node.config).take_over(told)


@pytest.fixture
def memollm_cache(request: pytest.FixtureRequest) -> Cache:
    """Give the cache of the test's recording, as `memollm.Cache`."""
    recorder = request.config.pluginmanager.get_plugin(RECORDER)
    if recorder is None:
        pytest.skip("memollm is off (--memollm=off)")
    cache: Cache = recorder.shelf(request.node).cache
    return cache
