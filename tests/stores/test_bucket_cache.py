"""Caches in a bucket: machines that exchange samples, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import itertools
import os
import warnings

import pytest

obstore = pytest.importorskip("obstore")

from memollm import (
    Cache,
    Embedder,
    MemollmWarning,
    OptionError,
    Similar,
    StoreRefused,
    StoreUnavailable,
    mode,
    namespace,
)
from memollm.stores.matching import matching
from memollm.stores.s3.address import bucket_address
from memollm.stores.s3.bucket import Bucket
from memollm.testing import FakeS3, hashed_ngrams

SECRET = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    """Let the client ask nobody else who it is, and sign as a team does."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-that-nobody-sees")
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", SECRET)


@pytest.fixture
def s3():
    with FakeS3() as server:
        yield server


@pytest.fixture
def machine(s3, tmp_path):
    """Make machines: folders of their own before one bucket."""
    made = []

    def make(name, **parameters):
        given = {"endpoint": s3.url, "local": tmp_path / name, "every": 0, "patience": 120, **parameters}
        query = "&".join(f"{key}={value}" for key, value in given.items())
        made.append(Cache(f"s3://samples/team?{query}"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def asking(cache, start=0, **options):
    numbers = itertools.count(start)
    return cache.cached_llm(lambda x: next(numbers), name="ask", version="1", **options)


def files(s3):
    return [name for name in s3.objects if name.startswith("samples/team/log/")]


def test_what_one_machine_has_paid_another_gets(machine):
    """A machine that draws for the first time has what the others have put (P2)."""
    a, b = machine("a"), machine("b")
    assert asking(a).draw(3, "q") == [0, 1, 2]
    assert a.sync()[:2] == (3, 0)
    assert asking(b, 100).draw(4, "q") == [0, 1, 2, 100]
    assert b.sync()[:2] == (1, 0)
    assert a.sync()[:2] == (0, 1)
    assert asking(a).peek("q") == [0, 1, 2, 100]


def test_a_similar_call_is_found_on_another_machine(machine, s3):
    """The vector of a call comes with its first sample, once; what was lent is each machine's own."""
    similar = Similar("question", embed=Embedder(hashed_ngrams, name="hashed"), threshold=0.8)
    a, b = machine("a"), machine("b")

    def answering(cache, says):
        return cache.cached_llm(lambda question: says, similar=similar, pool=1, name="answer", version=1)

    here, there = answering(a, "here"), answering(b, "there")
    assert [here("What is the capital of France?"), here("Tell me, what is the capital of France?")] == ["here"] * 2
    a.sync()
    assert there("Please tell me, what is the capital of France?") == "here"
    assert [len(matching(cache.store).matches()) for cache in (a, b)] == [1, 1]
    for cache in (b, a, b):
        cache.sync()
    # The embeddings of b are its own, and samples of another function.
    assert len(files(s3)) == 2


def test_nothing_is_sent_twice(machine, s3):
    """An exchange of nothing puts nothing, whoever made what is there."""
    a, b = machine("a"), machine("b")
    asking(a).draw(3, "q")
    for cache in (a, b, a, b):
        cache.sync()
    assert len(files(s3)) == 1


def test_both_keep_what_both_have_made(machine):
    """What two machines have drawn at a time is all there, and neither's own slots move."""
    a, b = machine("a"), machine("b")
    with namespace("n"):
        assert asking(a).draw(2, "q") == [0, 1]
        assert asking(b, 100).draw(2, "q") == [100, 101]
    for cache in (a, b, a):
        cache.sync()
    assert asking(a).peek("q") == [0, 1, 100, 101]
    assert asking(b).peek("q") == [100, 101, 0, 1]
    with namespace("n"):
        assert asking(b, 200).draw(3, "q") == [0, 1, 200]


def test_for_plain_memoization_the_first_that_was_put_wins(machine):
    """With `pool=1` all machines agree once they have exchanged, and no answer is lost."""
    a, b, c = machine("a"), machine("b"), machine("c")
    for start, cache in enumerate((a, b, c)):
        assert asking(cache, start * 100, pool=1)("q") == start * 100
    for cache in (b, a, c, b, a):
        cache.sync()
    assert [asking(cache, pool=1)("q") for cache in (a, b, c)] == [100, 100, 100]
    assert [sorted(asking(cache).peek("q")) for cache in (a, b, c)] == [[0, 100, 200]] * 3


def test_a_refreshed_answer_wins_over_the_one_that_it_replaced(machine):
    """What took the place of the answer that all agree on is what all agree on from then on."""
    a, b = machine("a"), machine("b")
    asking(a, pool=1)("q")
    a.sync()
    assert asking(b, 100, pool=1)("q") == 0
    with mode("refresh"):
        assert asking(b, 100, pool=1)("q") == 100
    b.sync()
    a.sync()
    assert [asking(cache, 200, pool=1)("q") for cache in (a, b)] == [100, 100]


def test_who_has_a_place_in_a_call_keeps_it(machine):
    """A call that is read by a namespace, too, stays as it is, since its slots were given (P1)."""
    a, b = machine("a"), machine("b")
    asking(a, pool=1)("q")
    with namespace("n"):
        asking(b, 100)("q")
    for cache in (a, b):
        cache.sync()
    with namespace("n"):
        assert asking(b, 200).draw(2, "q") == [0, 200]


@pytest.mark.parametrize("fault", ["lose_replies", "lose_requests", "fail", "conflict"])
def test_a_lost_answer_doubles_nothing(machine, s3, fault):
    """What was put and not answered for is known again, and what was refused is put again."""
    a, b = machine("a"), machine("b")
    b.sync()
    asking(a).draw(2, "q")
    asking(b, 100).draw(2, "q")
    a.sync()
    plan = {"fail": lambda: s3.fail(503, times=2), "conflict": lambda: s3.fail(409, times=1, method="PUT")}
    plan.get(fault, lambda: getattr(s3, fault)(times=2))()
    b.sync()
    assert len(files(s3)) == 2
    a.sync()
    assert [sorted(asking(cache).peek("q")) for cache in (a, b)] == [[0, 1, 100, 101]] * 2


def test_who_is_killed_in_the_middle_loses_nothing(machine, s3, monkeypatch):
    """A file that was put, and not noted, is read again and changes nothing."""
    from memollm._upkeep.exchange.state import LogState

    a, b = machine("a"), machine("b")
    asking(a).draw(3, "q")
    with monkeypatch.context() as context:
        context.setattr(LogState, "note", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            a.sync()
    assert len(files(s3)) == 1
    assert a.sync()[:2] == (0, 0)
    assert b.sync()[:2] == (0, 3)


def test_much_is_put_in_several_files(machine, s3, monkeypatch):
    """A call is divided where it is larger than a file, and whole again on the other side."""
    monkeypatch.setattr("memollm._upkeep.exchange.parcels.MOST_LINES", 10)
    a, b = machine("a"), machine("b")
    for question in "xyz":
        asking(a).draw(15, question)
    a.sync()
    assert len(files(s3)) > 4
    b.sync()
    assert [asking(b).peek(question) for question in "xyz"] == [[*range(15)]] * 3


def test_a_file_of_the_log_is_an_export(machine, s3, tmp_path):
    """Whoever has a file of the bucket can load it into any cache."""
    a = machine("a")
    asking(a).draw(3, "q")
    a.sync()
    (tmp_path / "one.jsonl.gz").write_bytes(s3.objects[files(s3)[0]])
    with Cache(tmp_path / "other") as other:
        assert other.load(tmp_path / "one.jsonl.gz").added == 3


def test_what_was_forgotten_here_stays_so(machine):
    """Forgetting is a machine's own: what it forgot does not come back, and others keep it."""
    a, b = machine("a"), machine("b")
    asking(a).draw(2, "q")
    a.sync()
    b.sync()
    asking(b).forget("q")
    b.sync()
    assert asking(b).peek("q") == []
    a.sync()
    assert asking(a).peek("q") == [0, 1]


def test_a_cache_that_was_removed_is_read_again(machine, tmp_path):
    """A machine whose files are gone gets everything anew, although it had read it."""
    a = machine("a")
    asking(a).draw(2, "q")
    a.sync()
    a.close()
    for path in (tmp_path / "a").glob("memollm.db*"):
        path.unlink() if path.is_file() else None
    again = machine("a")
    assert again.sync().received == 2


def test_what_a_machine_knows_of_the_log_can_be_lost(machine, tmp_path):
    """A damaged file of it is made anew by reading the log again, and nothing is doubled."""
    a = machine("a")
    asking(a).draw(2, "q")
    a.sync()
    (tmp_path / "a" / "exchange.db").write_bytes(b"no database" * 1000)
    assert a.sync()[:2] == (0, 0)
    assert asking(a).peek("q") == [0, 1]


async def _drawn(ask):
    return await ask.draw(3, "q")


def test_coroutine_functions_receive_first(machine):
    """What others have put is there before the first draw of a program with an event loop, too."""
    a, b = machine("a"), machine("b")
    asking(a).draw(3, "q")
    a.sync()

    async def fails(x):
        raise AssertionError(x)

    ask = b.cached_llm(fails, name="ask", version="1")
    assert asyncio.run(_drawn(ask)) == [0, 1, 2]


def test_by_itself_at_the_beginning_and_at_the_end(machine, s3):
    """A program has what others have put when it first draws, and leaves what it has made when it closes the cache."""
    with machine("a") as a:
        asking(a).draw(2, "q")
        assert files(s3) == []
    assert len(files(s3)) == 1


def test_by_itself_in_between(machine, s3, monkeypatch):
    """A program that goes on drawing exchanges now and then."""
    monkeypatch.setattr("memollm._upkeep.exchange.exchange.LEAST_SHARE", 0)
    a = machine("a", every=0.01)
    asking(a).draw(2, "q")
    s3.wait_for(2)
    assert len(files(s3)) == 1


# What goes wrong.


def test_a_bucket_that_overwrites_is_refused(tmp_path):
    """Where put-if-absent is not honoured samples could be lost, so nothing is drawn there."""
    with FakeS3(conditions=False) as server:
        cache = Cache(f"s3://samples?endpoint={server.url}&local={tmp_path / 'a'}&every=0")
        with pytest.raises(StoreRefused, match="If-None-Match"):
            asking(cache)("q")


def test_a_missing_bucket_is_named(tmp_path):
    """The error says which bucket there is not."""
    with FakeS3(buckets=["other"]) as server:
        cache = Cache(f"s3://samples/p?endpoint={server.url}&local={tmp_path / 'a'}&every=0")
        with pytest.raises(StoreRefused, match="no bucket 'samples'"):
            cache.sync()


def test_a_bucket_that_is_away_is_warned_of_and_draws_go_on(tmp_path):
    """What is drawn meanwhile is kept on this machine, and sent when the bucket is back (P7)."""
    with FakeS3() as server:
        url = server.url
    cache = Cache(f"s3://samples?endpoint={url}&local={tmp_path / 'a'}&every=0&patience=0")
    with pytest.warns(MemollmWarning, match="cannot be reached") as told:
        assert asking(cache).draw(2, "q") == [0, 1]
    assert "secret" not in str(told[0].message)
    with pytest.raises(StoreUnavailable):
        cache.sync()
    cache.close()


def test_the_doctor_asks_the_bucket(machine, s3, tmp_path):
    """It tells what is there, or why it cannot be told, and no secret."""
    a = machine("a")
    asking(a)("q")
    a.sync()
    found = {each.about: each for each in a.doctor()}
    assert found["bucket"].text == "it answers, and holds 1 file"
    with FakeS3(buckets=[]) as server:
        away = Cache(f"s3://none?endpoint={server.url}&local={tmp_path / 'none'}&every=0&patience=0")
    (told,) = [each for each in away.doctor() if each.about == "bucket"]
    assert told.state == "wrong"


def test_a_log_that_lacks_a_file_is_refused(machine, s3):
    """Whoever removes a file is told of by the next who needs it, and nothing is put in its place."""
    a = machine("a")
    for question in "xyz":
        asking(a)(question)
        a.sync()
    s3.remove(files(s3)[1])
    with pytest.raises(StoreRefused, match=r"lacks log/0000000002"):
        machine("b").sync()


def test_a_damaged_file_is_refused(machine, s3):
    """Nothing of it is taken in, and it is named."""
    a = machine("a")
    asking(a)("q")
    a.sync()
    s3.put(files(s3)[0], b"not a file of ours")
    with pytest.raises(StoreRefused, match=r"log/0000000001"):
        machine("b").sync()


def test_cursors_of_others_are_not_taken_over(machine, s3, tmp_path):
    """Whatever somebody has put there, what a namespace of this machine has drawn is its own."""
    with Cache(tmp_path / "whole") as whole, namespace("n"):
        asking(whole).draw(3, "q")
        whole.export(tmp_path / "whole.jsonl.gz")
    machine("a").sync()
    s3.put("samples/team/log/0000000001.jsonl.gz", (tmp_path / "whole.jsonl.gz").read_bytes())
    b = machine("b")
    with namespace("n"):
        assert asking(b, 100).draw(3, "q") == [0, 1, 2]


def test_a_folder_that_cannot_be_used_keeps_no_draw(machine, tmp_path):
    """Where this machine cannot exchange, it is said why, and draws go on (P7)."""
    a = machine("a")
    asking(a)("q")
    (tmp_path / "a" / "exchange").symlink_to("nowhere/else")
    with pytest.raises(StoreUnavailable, match="Draws go on"):
        a.sync()
    assert asking(a).draw(2, "r") == [0, 1]
    (tmp_path / "a" / "exchange").unlink()
    assert a.sync().sent == 3


@pytest.mark.parametrize("name", ["exchange.db", "exchange.lock"])
def test_a_link_in_the_folder_is_not_followed(machine, tmp_path, name):
    """What somebody else has put there is neither read nor written."""
    (tmp_path / "a").mkdir(mode=0o700)
    (tmp_path / "a" / name).symlink_to(tmp_path / "elsewhere")
    a, b = machine("a"), machine("b")
    b.sync()
    with pytest.raises(StoreRefused, match="it is a link"):
        asking(a)("q")
    assert not (tmp_path / "elsewhere").exists()


def test_a_newer_log_is_refused(machine, s3):
    """It is said that memollm is to be updated."""
    s3.put("samples/team/memollm.json", b'{"format": 99, "id": "x"}')
    with pytest.raises(StoreRefused, match="newer memollm"):
        machine("a").sync()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://key:secret@bucket", "credentials"),
        ("s3:///prefix", "names no bucket"),
        ("s3://bucket/../prefix", "no path"),
        ("s3://bucket?everi=3", "no 'everi'"),
        ("s3://bucket?every=soon", "not a number"),
        ("s3://bucket?endpoint=localhost", "no URL"),
        ("s3://bucket?endpoint=https://storage.googleapis.com", "Google Cloud Storage"),
        ("gs://bucket", "s3://"),
    ],
)
def test_a_wrong_url_is_refused(url, said):
    """One sentence says what is wrong, and no secret."""
    with pytest.raises(OptionError, match=said) as told:
        Cache(url)
    assert "secret@" not in str(told.value)


def test_a_path_may_have_the_name_of_a_scheme(project):
    """A folder that is called s3 is a folder."""
    with Cache("s3") as cache:
        asking(cache)("q")
    assert (project / "s3" / "memollm.db").exists()


def test_a_key_of_the_team_is_asked_for(monkeypatch, tmp_path):
    """Whoever shares a bucket without one is told so."""
    monkeypatch.delenv("MEMOLLM_SIGNING_KEY")
    with pytest.warns(MemollmWarning, match="MEMOLLM_SIGNING_KEY"):
        Cache(f"s3://samples?local={tmp_path / 'a'}")


def test_a_machine_without_credentials_is_told_so_at_once(monkeypatch, tmp_path):
    """No patience helps where no key is set and no role answers; the sentence says so, and it is asked once."""
    asked = []

    def no_role(_):
        asked.append(1)
        raise obstore.exceptions.GenericError("no answer from http://169.254.169.254/latest/api/token")

    monkeypatch.setattr(Bucket, "_opened", no_role)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    bucket = Bucket(bucket_address(f"s3://samples?local={tmp_path / 'a'}&patience=1000"))
    with pytest.raises(StoreUnavailable, match="no AWS_ACCESS_KEY_ID is set, and this machine has no role"):
        bucket.get("memollm.json")
    assert len(asked) == 1


def test_foreign_signatures_are_counted(machine, monkeypatch, tmp_path):
    """A record of another key is kept, not read, and told of (P10)."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", SECRET[::-1])
    a = machine("a")
    a.cached_llm(lambda x: slice(1, 2), name="ask", version="1")("q")
    a.sync()
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", SECRET)
    assert machine("b").sync() == (0, 1, 1, 1)


def test_only_one_way(machine):
    """Whoever wants so only sends, or only receives."""
    a, b = machine("a"), machine("b")
    asking(a)("q")
    asking(b, 100)("r")
    assert a.sync(down=False)[:2] == (1, 0)
    assert b.sync(up=False)[:2] == (0, 1)
    assert a.sync(up=False)[:2] == (0, 0)


def test_a_cache_without_a_bucket_has_nothing_to_sync(tmp_path):
    """The error says which cache has."""
    with Cache(tmp_path / "a") as cache, pytest.raises(OptionError, match="s3://bucket"):
        cache.sync()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_draws_and_leaves_the_exchange_to_its_parent(machine, s3):
    """What a child has made its parent sends."""
    a = machine("a")
    asking(a)("q")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        asking(a, 100)("r")
        a.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert a.sync().sent == 2


def test_copying_into_a_bucket(machine, tmp_path):
    """A cache of one machine moves into a bucket, and back."""
    with Cache(tmp_path / "old") as old:
        asking(old).draw(3, "q")
        assert old.copy(machine("a")).added == 3
    machine("a").sync()
    b = machine("b")
    b.sync()
    with Cache(tmp_path / "new") as new:
        assert b.copy(new).added == 3
