"""A bucket behind a server: large records are objects, put before anything refers to them and had once a machine."""

import hashlib
import threading

import pytest
from hands import large
from servers import require_redis

require_redis()
pytest.importorskip("obstore")

from memollm import Cache, MemollmWarning, MissingRecord
from memollm._types.calls import Place
from memollm._types.references import is_reference, read_reference, reference_to
from memollm._types.requests import Fill, Write
from memollm._types.samples import Sample, digest_of
from memollm.errors import StoreRefused, StoreUnavailable
from memollm.stores.tier import objects
from memollm.testing._bench import call


@pytest.fixture
def machine(redis, s3, tmp_path, closing):
    """Open the cache as a program of a machine does; what it pays for is in `machine.paid`."""
    url = redis.fresh()

    def make(name="here", query="", **options):
        tier = f"s3://bucket/samples?local={tmp_path / name}{query}"
        return closing(Cache(url, tier=tier, **options))

    make.paid, make.url = [], url
    return make


def asking(cache, paid, namespace="a"):
    """Decorate a function whose answers are large."""

    def make(seed):
        paid.append(seed)
        return large(f"{seed} {len(paid)}")

    return cache.cached_llm(make, name="ask", version=1, namespace=namespace)


def count_of(s3, method):
    return sum(request.method == method and "/objects/" in request.path for request in s3.requests)


def records_in(s3):
    """Return the objects that are records, in no place but their own."""
    return {path: content for path, content in s3.objects.items() if "/objects/" in path}


def test_a_large_record_is_an_object(machine, s3):
    """The server keeps where it stands; what is small stays there whole."""
    cache = machine()
    ask = asking(cache, machine.paid)
    answer = ask("x")
    small = cache.cached_llm(lambda text: text, name="small", version=1, namespace="a")
    assert small("y") == "y"
    (path,) = records_in(s3)
    ((record,),) = [[each.record for each in cache.store.server.peek(of).values()] for of in calls(cache, "ask")]
    assert is_reference(record)
    assert f"bucket/samples/{read_reference(record).name}" == path
    assert hashlib.sha256(s3.objects[path]).hexdigest() == path.rpartition("/")[2]
    assert digest_of(record) == digest_of(s3.objects[path])
    ((small_record,),) = [
        [each.record for each in cache.store.server.peek(of).values()] for of in calls(cache, "small")
    ]
    assert not is_reference(small_record)
    assert ask.peek("x") == [answer]
    assert cache.holds().bytes > len(s3.objects[path])


def calls(cache, function):
    return [stored.call for stored in cache.store.looking.calls(function)]


def test_an_object_is_had_once_a_machine(machine, s3):
    """Another machine has the record from the bucket, and its programs have it from then on."""
    answer = asking(machine("there"), machine.paid)("x")
    assert count_of(s3, "GET") == 0
    for namespace in ("b", "c", "d"):
        assert asking(machine("here"), machine.paid, namespace)("x") == answer
    assert count_of(s3, "GET") == 1
    assert machine.paid == ["x"]


def test_equal_records_are_one_object(machine, s3):
    """What two calls have answered alike is put once."""
    cache = machine()
    same = cache.cached_llm(lambda text: large("same"), name="same", version=1, namespace="a")
    assert same("x") == same("y") == large("same")
    assert len(records_in(s3)) == 1


def test_who_waits_in_this_process_is_given_the_record(machine):
    """A thread that waits for the slot of another is told the answer, not where it stands (P5)."""
    cache, begun, go = machine(), threading.Event(), threading.Event()

    def make(text):
        begun.set()
        assert go.wait(30)
        return large(text)

    ask = cache.cached_llm(make, name="ask", version=1, pool=1)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask("x"))) for _ in range(2)]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join(30)
    assert answers == [large("x")] * 2


@pytest.mark.parametrize("fault", ["removed", "changed"])
def test_a_missing_object_is_an_error_and_no_call(machine, s3, fault):
    """A sample whose object is gone is named; it is not paid for again, and its position is given when it is back."""
    answer = asking(machine("there"), machine.paid)("x")
    ((path, content),) = records_in(s3).items()
    s3.remove(path) if fault == "removed" else s3.put(path, b"another")
    ask = asking(machine("here"), machine.paid, "b")
    with pytest.raises(MissingRecord, match=path.rpartition("/")[2]) as missing:
        ask("x")
    assert "s3://bucket/samples/objects/" in str(missing.value)
    assert ".forget its call" in str(missing.value)
    s3.put(path, content)
    assert ask("x") == answer
    assert machine.paid == ["x"]


def test_a_bucket_that_is_away_is_an_error_and_no_call(machine, s3):
    """A draw whose record cannot be had now says so, and costs nothing."""
    asking(machine("there"), machine.paid)("x")
    ask = asking(machine("here", "&patience=0"), machine.paid, "b")
    s3.fail(503, times=20)
    with pytest.raises(MissingRecord, match="cannot be had"):
        ask("x")
    assert machine.paid == ["x"]


def test_what_a_bucket_does_not_take_stays_in_the_server(machine, s3):
    """An answer that was paid for is kept while the bucket is away; that is said once (P7)."""
    cache = machine(query="&patience=0")
    ask = asking(cache, machine.paid)
    s3.fail(503, times=20)
    with pytest.warns(MemollmWarning, match="Large records are kept by the server") as told:
        answers = [ask("x"), ask("x")]
    assert len(told) == 1
    assert s3.objects == {}
    assert asking(machine("there"), machine.paid, "b").draw(2, "x") == answers
    assert machine.paid == ["x", "x"]


def test_a_bucket_that_stays_away_is_waited_for_once():
    """Whoever has waited in vain asks once and does not wait, be it to put or to get, until the bucket has answered."""
    patiences, away = [], True

    class Slow:
        def put(self, name, body, *, patience=None):
            return self.get(name, patience=patience) is not None

        def get(self, name, *, patience=None):
            patiences.append(patience)
            if away:
                raise StoreUnavailable("away")
            return b""

    records = objects.RecordObjects(Slow(), "s3://bucket/samples")
    with pytest.warns(MemollmWarning, match="kept by the server"):
        reference = reference_to(large("x").encode(), records.place)
        for ask in (records.referred, records.whole):
            ask(large("x").encode() if ask == records.referred else reference)
    away = False
    for _ in range(2):
        records.whole(reference)
    assert patiences == [None, 0.0, 0.0, None]


def test_a_lost_reply_of_a_put_is_no_loss(machine, s3):
    """Where the bucket took the object and nobody was told, it counts (P7)."""
    s3.lose_replies()
    answer = asking(machine(), machine.paid)("x")
    assert len(records_in(s3)) == 1
    assert asking(machine("there"), machine.paid, "b")("x") == answer


def test_what_dies_between_object_and_reference_leaves_garbage_only(machine, s3, monkeypatch):
    """The object is put first: if the server never hears of it, the slot is vacant, and the next draw makes it anew."""
    cache = machine()
    asking(cache, machine.paid)("opening")
    store, refused = cache.store, StoreUnavailable("gone.")
    monkeypatch.setattr(store.server, "perform", lambda requests: [refused] * len(requests))
    record = large("lost").encode()
    ticket = store.flights.depart()
    assert store.perform([Write(store.flights.new_id(), [Fill(ticket, Place(call(), 0), Sample(record, 1.0))])]) == [
        refused
    ]
    monkeypatch.undo()
    assert len(records_in(s3)) == 2
    assert store.peek(call()) == {}


def test_an_export_has_the_records(machine, s3, tmp_path):
    """What is taken out needs no bucket, and what is brought in is put there."""
    cache = machine()
    answers = [asking(cache, machine.paid)("x") for _ in range(3)]
    cache.export("all.jsonl")
    cache.copy(tmp_path / "copy")
    with Cache(tmp_path / "loaded") as loaded, Cache(tmp_path / "copy") as copied:
        loaded.load("all.jsonl")
        for each in (loaded, copied):
            assert asking(each, machine.paid, "b").draw(3, "x") == answers
        tier = f"s3://bucket/other?local={tmp_path / 'other'}"
        with Cache(f"{machine.url}?prefix=other", tier=tier) as other:
            loaded.copy(other)
            assert asking(other, machine.paid, "c").draw(3, "x") == answers
    assert len([path for path in records_in(s3) if path.startswith("bucket/other/objects/")]) == 3
    assert len(machine.paid) == 3


@pytest.mark.parametrize("how", ["drawn", "loaded"])
def test_no_object_is_put_before_the_bucket_knows_of_the_cache(machine, s3, tmp_path, how):
    """A sweep of another cache would take such an object for nobody's: the server keeps the record until then."""
    source = Cache("memory:")
    answer = asking(source, machine.paid)("x")
    source.export(tmp_path / "file.jsonl")
    cache = machine(query="&patience=0")
    s3.fail(503, method="GET")
    with pytest.warns(MemollmWarning, match="kept by the server"):
        if how == "drawn":
            answer = asking(cache, machine.paid)("x")
        else:
            cache.load(tmp_path / "file.jsonl")
    names = [path for path in s3.objects if "/caches/" not in path]
    assert names == []
    assert asking(machine("there"), machine.paid, "b")("x") == answer
    asking(cache, machine.paid)("y")
    assert sorted(path.split("/")[2] for path in s3.objects) == ["caches", "objects"]


def test_without_the_tier_a_record_says_where_it_stands(machine, tmp_path):
    """Whoever opens the cache without the bucket is told what to say, and pays for nothing."""
    asking(machine(), machine.paid)("x")
    without, told = Cache(machine.url), "tier='s3://bucket/samples', or set MEMOLLM_TIER"
    with without, pytest.raises(MissingRecord, match=told):
        asking(without, machine.paid, "b")("x")
    other = Cache(machine.url, tier=f"s3://bucket/elsewhere?local={tmp_path / 'other'}")
    with other, pytest.raises(StoreRefused, match="names s3://bucket/elsewhere: give the cache tier='s3://bucket/s"):
        asking(other, machine.paid, "b").with_options(mode="refresh")("x")
    assert machine.paid == ["x"]


def test_a_draw_of_several_keeps_what_it_has_called(machine, s3):
    """Beside a slot whose object is gone, vacant ones are filled; the draw raises, and the next is given all (P7)."""
    answer = asking(machine("there"), machine.paid)("x")
    ((path, content),) = records_in(s3).items()
    s3.remove(path)
    ask = asking(machine("here"), machine.paid, "b")
    with pytest.raises(MissingRecord, match="not there any more"):
        ask.draw(2, "x")
    assert machine.paid == ["x", "x"]
    s3.put(path, content)
    assert ask.draw(2, "x") == [answer, large("x 2")]
    assert machine.paid == ["x", "x"]


@pytest.mark.parametrize("fault", ["removed", "changed"])
def test_what_has_lost_its_object_is_listed_and_left_out(machine, s3, tmp_path, fault):
    """A check names each sample that has lost its object; all others are exported and copied, and that is said."""
    cache = machine("there")
    asking(cache, machine.paid)("x")
    (path,) = records_in(s3)
    answer = asking(cache, machine.paid)("x")
    s3.remove(path) if fault == "removed" else s3.put(path, b"another")
    other = machine("here")
    (found,) = other.verify().faults
    assert (found.kind, found.where.split()[0], found.where.split()[-2:]) == ("record", "ask", ["slot", "0"])
    assert path.rpartition("/")[2] in found.what
    with pytest.warns(MemollmWarning, match="1 sample had to be left out.*objects/"):
        exported = other.export("some.jsonl")
    with pytest.warns(MemollmWarning, match="1 sample had to be left out"):
        copied = other.copy(tmp_path / "copy")
    with pytest.warns(MemollmWarning, match="1 sample had to be left out"):
        recorded = other.export("some.recording.jsonl", recording=True)
    assert [(each.samples, each.damaged) for each in (exported, copied, recorded)] == [(1, 1)] * 3
    with Cache(tmp_path / "copy") as copy:
        assert asking(copy, machine.paid).peek("x") == [answer]


@pytest.mark.parametrize("tier", [None, "s3://bucket/elsewhere"])
def test_what_stands_in_a_bucket_that_is_not_named_is_not_left_out(machine, tmp_path, tier):
    """Without its tier nothing of a cache is taken out, and nothing of it is called damaged."""
    asking(machine(), machine.paid)("x")
    with Cache(machine.url, tier=tier and f"{tier}?local={tmp_path / 'other'}") as cache:
        found = cache.verify()
        assert found.ok
        assert found.elsewhere == 1
        assert (
            "has not named their bucket: 1 sample in s3://bucket/samples; give the cache tier='s3://bucket/samples'"
            in str(found)
        )
        for take_out in (cache.export, cache.copy):
            with pytest.raises(StoreRefused, match="give the cache tier='s3://bucket/samples', or set MEMOLLM_TIER"):
                take_out(tmp_path / "out.jsonl")
        with pytest.raises(StoreRefused, match="has not named"):
            cache.export("all.jsonl", recording=True)
        (told,) = [each for each in cache.doctor() if each.about == "bucket"]
        assert told.state == "wrong"
        assert "give the cache tier='s3://bucket/samples', or set MEMOLLM_TIER" in told.text


def test_a_bucket_that_is_away_ends_an_export(machine, s3, tmp_path):
    """What can be had again later is not left out."""
    asking(machine(), machine.paid)("x")
    cache = machine("there", "&patience=0")
    s3.fail(503, times=20)
    with pytest.raises(MissingRecord, match="cannot be had"):
        cache.export(tmp_path / "all.jsonl")


def test_an_answer_is_kept_though_another_bucket_was_named_meanwhile(machine, s3, tmp_path):
    """Of two programs that begin a cache with two buckets one is refused; nothing that it paid for is lost (P7)."""
    tier = f"s3://bucket/elsewhere?local={tmp_path / 'other'}"
    with Cache(machine.url, tier=tier) as late:

        def make(text):
            asking(machine(), machine.paid)("first")
            return large(text)

        slow = late.cached_llm(make, name="slow", version=1, namespace="a")
        answer = slow("x")
        with pytest.raises(StoreRefused, match="names s3://bucket/elsewhere"):
            slow("x")
    assert all(path.startswith("bucket/samples/") for path in s3.objects)
    assert machine().cached_llm(large, name="slow", version=1, namespace="b")("x") == answer


def test_the_doctor_asks_the_bucket(machine, s3):
    """What is wrong with the tier is found without a draw."""
    cache = machine(query="&patience=0")
    assert [(each.state, each.text) for each in cache.doctor() if each.about == "bucket"] == [
        ("ok", "s3://bucket/samples answers")
    ]
    s3.fail(503, times=20)
    assert [each.state for each in cache.doctor() if each.about == "bucket"] == ["wrong"]


def test_what_fails_is_asked_once():
    """An error of one of several requests is told as it is, and none of them is sent again for it."""
    asked = []

    def ask(number):
        asked.append(number)
        raise RuntimeError("told")

    with pytest.raises(RuntimeError, match="told"):
        objects.together(ask, [1, 2])
    assert sorted(asked) == [1, 2]
