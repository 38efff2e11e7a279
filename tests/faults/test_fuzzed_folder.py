"""Changed at random, a cache's folder or an export gives the right samples or an error of ours, and harms nothing."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import warnings

import fuzzing
import pytest

from memollm import Cache

SEEDS = 24
DEEP = 1500
EXPORTS = ("e.jsonl", "e.jsonl.gz", "e.jsonl.zst")


@pytest.fixture(scope="module")
def watch():
    """Watch what the system is asked for; a hook cannot be taken back, so there is one."""
    return fuzzing.Watch()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Fill a cache once, and use one, so that whatever is imported on first need is there."""
    above = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEMOLLM_SIGNING_KEY", "a key of the tests' own")
        fuzzing.fill(above / "cache")
        with Cache(above / "cache") as cache:
            for name in EXPORTS:
                cache.export(above / name)
        shutil.copytree(above / "cache", above / "used")
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore", UserWarning)
            fuzzing.command_line(above / "used")
            fuzzing.use(above / "used")
    return above


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a key of the tests' own")


def seeds(count, first=0):
    return [pytest.param(first + seed, id=f"seed{first + seed}") for seed in range(count)]


@pytest.mark.parametrize("seed", seeds(SEEDS))
def test_a_changed_folder_harms_nothing(tmp_path, template, watch, seed):
    """P8, P10: no byte of a cache's files makes a draw wrong, run code, touch a file elsewhere or hang."""
    fuzzing.attack(seed, template / "cache", tmp_path / "scene", watch)


@pytest.mark.parametrize("value", [7, -1.5, "a text", "", b"", b"J1:00000000:1"])
def test_what_is_no_record_harms_nothing(tmp_path, template, watch, value):
    """The same of whatever a damaged database has in the place of records."""
    fuzzing.attack_records(value, template / "cache", tmp_path / "scene", watch)


@pytest.mark.parametrize("seed", seeds(SEEDS))
def test_a_changed_export_harms_nothing(tmp_path, template, watch, seed):
    """The same of the bytes of a file that is loaded; what was loaded is as an export writes it."""
    fuzzing.attack_export(seed, [template / name for name in EXPORTS], tmp_path / "scene", watch)


@pytest.mark.deep
@pytest.mark.parametrize("block", range(30))
def test_many_changed_folders_and_exports_harm_nothing(tmp_path, template, watch, block):
    """The same, for long."""
    for seed in random.Random(block).sample(range(1_000_000), DEEP // 30):
        fuzzing.attack(seed, template / "cache", tmp_path / "scene", watch)
        fuzzing.attack_export(seed, [template / name for name in EXPORTS], tmp_path / "scene", watch)
