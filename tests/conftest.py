"""What all tests share: caches that go away, and a project folder of their own."""

from __future__ import annotations

import pytest

from memollm import Cache, configure
from memollm._calls.configuration import SETTINGS

pytest.register_assert_rewrite("memollm.testing")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """Each test works in a project folder of its own, with nothing configured."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    monkeypatch.chdir(folder)
    for name in (
        "MEMOLLM_CACHE",
        "MEMOLLM_NAMESPACE",
        "MEMOLLM_RUN",
        "MEMOLLM_MODE",
        "MEMOLLM_KEEP_ARGUMENTS",
        "MEMOLLM_PICKLE",
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
