"""Sweeping a tier's bucket: what nothing refers to goes in two steps, and nothing that a sample needs is ever lost."""

import gc
import json
import re

import pytest
from hands import large
from servers import require_redis

require_redis()
pytest.importorskip("obstore")

from memollm import Cache, OptionError, StoreReadOnly, Swept
from memollm.cli._running import run
from memollm.errors import StoreUnavailable
from memollm.stores.s3.bucket import Bucket
from memollm.testing._s3 import _error

WEEK = 8 * 86400


@pytest.fixture
def machine(redis, s3, tmp_path, closing):
    """Open a cache as a program of a machine does."""
    url = redis.fresh()

    def make(name="here", prefix="one", tier="s3://bucket/samples"):
        given = f"{tier}?local={tmp_path / name}&patience=0"
        return closing(Cache(f"{url}?prefix={prefix}", tier=given if tier else None))

    return make


def asking(cache, namespace="a"):
    """Decorate a function whose answers are large; the answer is always the same."""
    return cache.cached_llm(large, name="ask", version=1, namespace=namespace)


def records_in(s3, folder="objects"):
    return [path for path in s3.objects if f"/{folder}/" in path]


def test_what_nothing_refers_to_goes_in_two_steps(machine, s3):
    """An object is set aside when it is old enough, and gone for good when it was set aside as long ago."""
    cache = machine()
    ask = asking(cache)
    answers = [ask("kept"), ask("forgotten")]
    ask.forget("forgotten")
    assert cache.sweep() == Swept(1, 1, 0, 0, 0, 0, 0)
    s3.pass_time(WEEK)
    foreseen = cache.sweep(dry_run=True)
    assert len(records_in(s3)) == 2
    assert cache.sweep() == foreseen == Swept(1, 0, 1, foreseen.set_aside_bytes, 0, 0, 0)
    assert (len(records_in(s3)), len(records_in(s3, "swept"))) == (1, 1)
    assert cache.sweep() == Swept(1, 0, 0, 0, 0, 0, 0)
    s3.pass_time(WEEK)
    assert cache.sweep(dry_run=True) == Swept(1, 0, 0, 0, 1, foreseen.set_aside_bytes, 0)
    assert cache.sweep() == Swept(1, 0, 0, 0, 1, foreseen.set_aside_bytes, 0)
    assert (len(records_in(s3)), len(records_in(s3, "swept"))) == (1, 0)
    assert asking(machine("there"), "b")("kept") == answers[0]
    assert cache.verify().ok


def test_a_cache_without_objects_is_asked_again_for_its_name(machine, s3):
    """Who has swept before anything was there sweeps what another program has put since."""
    cache = machine()
    cache.cached_llm(lambda: "small", name="ask", version=1)()
    assert cache.sweep() == Swept(0, 0, 0, 0, 0, 0, 0)
    asking(machine("other"))("x")
    assert cache.sweep().kept == 1


def test_what_is_referred_to_again_is_found_and_put_back(machine, s3):
    """A record that was taken for unused is read all the same, and stands where it stood from then on."""
    ask = asking(machine("there"))
    answer = ask("x")
    (path,) = records_in(s3)
    s3.put(path.replace("/objects/", "/swept/"), s3.objects[path])
    s3.remove(path)
    assert asking(machine("here"), "b")("x") == answer
    assert records_in(s3) == [path]


def test_a_sweep_puts_back_what_a_sample_refers_to(machine, s3):
    """What was set aside while a program was about to refer to it is put back, and stays found meanwhile."""
    cache = machine()
    asking(cache)("x")
    (path,) = records_in(s3)
    aside = path.replace("/objects/", "/swept/")
    s3.put(aside, s3.objects[path])
    s3.remove(path)
    assert cache.sweep().put_back == 1
    assert [*records_in(s3), *records_in(s3, "swept")] == [path, aside]
    s3.pass_time(WEEK)
    assert cache.sweep() == Swept(1, 0, 0, 0, 0, 0, 0)
    assert [*records_in(s3), *records_in(s3, "swept")] == [path]


def test_an_old_object_that_is_used_anew_while_it_is_swept_is_not_lost(machine, s3, monkeypatch):
    """A fill that finds its object there counts, though a sweep that did not know of it sets it aside (P7)."""
    ask = asking(machine())
    answer = ask("x")
    ask.forget("x")
    s3.pass_time(WEEK)
    other, copy = machine("other"), Bucket.copy

    def copied(bucket, name, to):
        # The sweep has read what is referred to; now somebody refers to what it is about to set aside.
        assert asking(other, "c")("x") == answer
        return copy(bucket, name, to)

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "copy", copied)
        assert other.sweep().set_aside == 1
    assert records_in(s3) == []
    s3.pass_time(WEEK)
    assert other.sweep().put_back == 1
    assert asking(machine("there"), "b")("x") == answer


@pytest.mark.parametrize("requests", range(8))
def test_a_sweep_that_broke_off_is_completed_by_the_next(machine, s3, requests):
    """Whatever request it was that failed, nothing is lost and the next sweep ends what was begun."""
    cache = machine()
    ask = asking(cache)
    answer = ask("kept")
    for text in "ab":
        ask(text)
        ask.forget(text)
        s3.pass_time(WEEK)
        if text == "a":
            cache.sweep()
    with FailingFrom(s3, requests), pytest.raises(StoreUnavailable):
        cache.sweep()
    cache.sweep()
    s3.pass_time(WEEK)
    cache.sweep()
    assert (len(records_in(s3)), records_in(s3, "swept"), records_in(s3, "clock")) == (1, [], [])
    assert asking(machine("there"), "b")("kept") == answer


class FailingFrom:
    """Lets some requests pass, and refuses all others."""

    def __init__(self, s3, passed):
        self._s3, self._passed = s3, passed

    def __enter__(self):
        answer, left = self._s3._answer, iter(range(self._passed))

        def answering(*asked):
            return _error(503) if next(left, None) is None else answer(*asked)

        self._s3._answer = answering

    def __exit__(self, *_):
        del self._s3._answer


def test_a_bucket_that_other_caches_have_is_swept_with_all_of_them(machine, s3):
    """No object of a cache that was not named is touched; the refusal names it without its password."""
    cache, other = machine(), machine("other", "two")
    asking(cache)("x")
    answer = asking(other)("y")
    asking(other)("z")
    asking(other).forget("z")
    s3.pass_time(WEEK)
    with pytest.raises(OptionError, match=r"objects of other caches, too: redis://.*prefix=two.* \(caches/") as refused:
        cache.sweep()
    assert "secret" not in str(refused.value)
    assert len(records_in(s3)) == 3
    done = cache.sweep(others=[other])
    assert (done.kept, done.set_aside, len(records_in(s3))) == (2, 1, 2)
    assert asking(machine("there", "two"), "b")("y") == answer


def test_a_bucket_is_not_swept_by_a_cache_that_is_not_there(machine, s3, redis):
    """Where nobody has made the cache every object would seem to be unused: none is touched, and no cache is made."""
    cache = machine()
    asking(cache)("x")
    s3.pass_time(WEEK)
    with pytest.raises(OptionError, match=r"there is no cache at redis://.*in prefix nobody, .*nothing was swept"):
        machine("there", "nobody").sweep()
    with pytest.raises(OptionError, match="there is no cache at"):
        cache.sweep(others=[machine("there", "nobody")])
    with redis.client() as client:
        assert not [key for key in client.keys("*") if key.startswith(b"nobody")]
    assert len(records_in(s3)) == 1


def test_what_cannot_be_swept_is_refused(machine):
    """A cache without a bucket, caches of two buckets, and an age at which a fill may be on its way."""
    cache = machine()
    asking(cache)("x")
    with pytest.raises(OptionError, match="less than an hour"):
        cache.sweep(older_than="59m")
    with pytest.raises(OptionError, match="give tier='s3://bucket/samples'"):
        machine(tier=None).sweep()
    with pytest.raises(OptionError, match="Sweep each"):
        cache.sweep(others=[machine("else", "two", "s3://bucket/else")])


def test_what_has_no_bucket_is_named_as_its_user_would(machine, redis, tmp_path, monkeypatch):
    """A file, a bucket's cache, one in memory, one with a folder before it: no message names a class."""
    monkeypatch.setenv("MEMOLLM_TIER", "s3://bucket/samples")
    folder, shown = tmp_path / "cache", r"redis://…@[\w.:]+/0\?prefix=\w+"
    before = str(tmp_path / "before")
    for place, tier, said in (
        (folder, None, re.escape(str(folder))),
        (tmp_path / "my.db", None, re.escape(str(tmp_path / "my.db"))),
        (f"s3://bucket/c?local={tmp_path / 'local'}", None, "s3://bucket/c"),
        ("memory:", None, "'memory:'"),
        (f"{redis.url}?prefix=three", before, shown),
    ):
        with Cache(place, tier=tier) as cache:
            cache.cached_llm(lambda: "a", name="ask", version=1)()
            for dry in (True, False):
                with pytest.raises(
                    OptionError, match=rf"^sweep is about a bucket .*, and {said}\S* has none\. Name a "
                ):
                    cache.sweep(dry_run=dry)
    with Cache(folder) as cache, pytest.raises(OptionError, match=re.escape(f"and {folder} has none")):
        machine().sweep(others=[cache])


@pytest.mark.usefixtures("collects")
def test_the_command_on_what_has_no_bucket(tmp_path, monkeypatch, capsys):
    """It ends as for any mistake, in one line."""
    monkeypatch.setenv("MEMOLLM_TIER", "s3://bucket/samples")
    with Cache(tmp_path / "cache") as cache:
        cache.cached_llm(lambda: "a", name="ask", version=1)()
    assert run(["--cache", str(tmp_path / "cache"), "sweep"]) == 2
    assert f"and {tmp_path / 'cache'} has none. Name a cache that has one" in " ".join(capsys.readouterr().err.split())


def test_who_may_not_remove_is_told_so_before_anything_is_moved(machine, s3):
    """A user without the right to remove objects changes nothing, and may look all the same."""
    cache = machine()
    asking(cache)("x")
    asking(cache).forget("x")
    s3.pass_time(WEEK)
    before = records_in(s3)
    s3.fail(403, method="POST")
    with pytest.raises(StoreReadOnly, match="Ask for the right to remove objects"):
        cache.sweep()
    assert records_in(s3) == before
    s3.fail(403, method="PUT")
    assert cache.sweep(dry_run=True).kept == 0


@pytest.fixture
def collects():
    """Leave the collector as it was; a command is a process of its own."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collects")
def test_the_command_asks_and_tells_what_was_done(machine, s3, monkeypatch, capsys):
    """A dry run tells what would go; without an answer nothing does; another cache is named by its URL."""
    cache, other = machine(), machine("other", "two")
    for each in (cache, other):
        asking(each)("kept")
        asking(each)("forgotten")
        asking(each).forget("forgotten")
    s3.pass_time(WEEK)
    urls = [each.store.server.address.url for each in (cache, other)]
    monkeypatch.setenv("MEMOLLM_TIER", cache._tier)

    def sweep(*more):
        code = run(["--cache", urls[0], "sweep", *more])
        told, said = capsys.readouterr()
        return code, re.sub(r"\(\d.*? kB\)", "(…)", told), said

    assert "Name each: others=[…], or memollm sweep --other URL" in sweep("--dry-run")[2]
    both = ("--other", urls[1])
    assert sweep("--dry-run", *both)[:2] == (0, "To do: 1 object in use, 1 set aside (…), 0 removed for good (0 B).\n")
    assert len(records_in(s3)) == 2
    assert sweep("--yes", *both)[:2] == (0, "1 object in use, 1 set aside (…), 0 removed for good (0 B).\n")
    code, told, _ = sweep("--json", *both)
    assert (code, json.loads(told)["kept"], json.loads(told)["changed"]) == (0, 1, True)
    assert "nothing to do" in sweep(*both)[1]
