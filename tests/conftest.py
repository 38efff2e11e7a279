"""What all tests share: caches that go away, and a project folder of their own."""

from __future__ import annotations

import compileall
import faulthandler
import gc
import os
import signal
import sys
from pathlib import Path

import pytest

import memollm
import pytest_memollm
from memollm import Cache, configure
from memollm._calls.configuration import SETTINGS

DEADLINE, DEEP_DEADLINE = 300.0, 1200.0
"""Seconds for a test: far more than it takes on a busy machine."""

pytest.register_assert_rewrite("memollm.testing")


def pytest_configure(config):
    """Compile the packages once, as an installer does, and not again in each of the programs that tests start.

    What these programs write is not compiled into files: a module that is written twice in one second, with the same
    size, would be taken for the one that was compiled.
    """
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    if not hasattr(config, "workerinput"):
        for package in (memollm, pytest_memollm):
            compileall.compile_dir(Path(package.__file__).parent, quiet=2)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Let garbage be looked for only among what tests make: among all that is imported, it takes half a second."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def deadline(request):
    """End the run with every thread's stack when a test hangs."""
    if request.config.pluginmanager.hasplugin("witness"):
        # It sets shorter ones.
        yield
        return
    is_deep = request.node.get_closest_marker("deep") is not None
    faulthandler.dump_traceback_later(DEEP_DEADLINE if is_deep else DEADLINE, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module", autouse=True)
def frozen():
    """Do the same after each module's tests: what they imported is there for good, and collections are many."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Let Ctrl-C reach tests and the programs that they start, also where whoever started pytest ignores it."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """Each test works in a project folder of its own, with nothing configured."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    monkeypatch.chdir(folder)
    for name in (
        "MEMOLLM_CACHE",
        "MEMOLLM_TIER",
        "MEMOLLM_NAMESPACE",
        "MEMOLLM_RUN",
        "MEMOLLM_MODE",
        "MEMOLLM_ON_CHANGE",
        "MEMOLLM_ON_STORE_ERROR",
        "MEMOLLM_KEEP_ARGUMENTS",
        "MEMOLLM_PICKLE",
        "MEMOLLM_BUDGET",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    configure(**dict.fromkeys(SETTINGS))
    return folder


@pytest.fixture(params=["memory", "sqlite"])
def cache(request, tmp_path):
    """Make a cache of each kind."""
    with Cache("memory:" if request.param == "memory" else tmp_path / "cache") as made:
        yield made


@pytest.fixture
def provider():
    """Serve a provider that is none."""
    from memollm.testing import FakeProvider

    with FakeProvider() as made:
        yield made
