"""What could be wrong with a cache, told to a program that is drawing from it."""

from __future__ import annotations

import subprocess
import sys

from memollm import Cache

DEADLINE = 60


def stated(cache):
    return {finding.about: finding.state for finding in cache.doctor()}


def test_a_cache_that_is_as_it_should_be(tmp_path):
    """Nothing is wrong with a cache, before its first draw and after it; looking makes nothing."""
    with Cache(tmp_path / "cache") as cache:
        assert "wrong" not in stated(cache).values()
        assert not (tmp_path / "cache").exists()
        cache.cached_llm(lambda: "answer", name="ask", version=1)()
        found = stated(cache)
    assert (found["schema"], found["catalog"], found["permissions"], found["signing key"]) == ("ok",) * 4


def test_what_is_wrong_says_what_to_do(tmp_path):
    """Where others can read the file, the finding is wrong and names the cure."""
    with Cache(tmp_path / "cache") as cache:
        cache.cached_llm(lambda: "answer", name="ask", version=1)()
        (tmp_path / "cache" / "memollm.db").chmod(0o644)
        (wrong,) = [finding for finding in cache.doctor() if finding.state == "wrong"]
    assert wrong.about == "permissions"
    assert "chmod 600" in wrong.text


def test_the_memory_of_a_process_is_worth_knowing():
    """A cache in memory is none that lasts, and that is no fault."""
    with Cache("memory:") as cache:
        assert stated(cache)["store"] == "note"


def test_looking_lets_no_lock_go(tmp_path):
    """P7: what is drawn after a look is there for others, also when another process left in between."""
    with Cache(tmp_path / "cache") as cache:
        ask = cache.cached_llm(lambda number: number, name="ask", version=1, pool=1)
        ask(1)
        cache.doctor()
        left = "import sys, memollm; cache = memollm.Cache(sys.argv[1]); print(cache.holds().samples); cache.close()"
        command = [sys.executable, "-c", left, str(tmp_path / "cache")]
        assert subprocess.check_output(command, timeout=DEADLINE).split() == [b"1"]
        ask(2)
        assert subprocess.check_output(command, timeout=DEADLINE).split() == [b"2"]
