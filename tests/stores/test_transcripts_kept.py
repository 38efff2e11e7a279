"""SQLite, PostgreSQL and Redis keep what runs drew with the calls and readers that they know."""

import pytest
from hands import stock, take
from kinds import postgres_kind, redis_kind

from memollm._types.calls import Call
from memollm._types.counting import DrawnStretch
from memollm._types.listings import Move
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.stores.sqlite.reader import SqliteReader
from memollm.stores.sqlite.store import SqliteStore
from memollm.stores.transcripts import transcribing, transcript_of
from memollm.testing._bench import call


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def store(request, opened, tmp_path):
    """Open each kind of store."""
    if request.param == "sqlite":
        yield opened(tmp_path / "cache")
        return
    server = request.getfixturevalue(request.param)
    kind = postgres_kind(server) if request.param == "postgres" else redis_kind(server)
    store = kind.store(server.fresh())
    yield store
    store.close()


@pytest.fixture
def reader(store, request):
    """Look at the same as somebody who may only read."""
    if isinstance(store, SqliteStore):
        reader = SqliteReader(store.files.database)
    elif "postgres" in request.fixturenames or "postgres" in request.node.name:
        from memollm.stores.postgres.reader import PostgresReader

        reader = PostgresReader(request.getfixturevalue("guest"))
    else:
        from memollm.stores.redis.reader import RedisReader

        reader = RedisReader(request.getfixturevalue("redis_guest"))
    yield reader
    reader.close()


def test_a_stretch_stays_where_it_was_first(store):
    """Drawn again by the same reader of a run, it keeps its place and its lane, and may grow (as pools give again)."""
    stock(store, b"0", b"1")
    drawn = DrawnStretch("r", "a", "l", call(), 0, 0, 1.0)
    transcribing(store).transcribe([drawn])
    transcribing(store).transcribe([drawn._replace(lane="other", last=1, at=2.0), drawn._replace(run="s", at=3.0)])
    assert transcript_of(store) == [drawn._replace(last=1), drawn._replace(run="s", at=3.0)]
    assert transcript_of(store, run="s", namespace="a", lane="l") == [drawn._replace(run="s", at=3.0)]
    assert [reader.name for reader in looking(store).readers()] == []


def test_it_moves_with_adopted_samples(store):
    """Samples that come after another call's stand there in the transcript, too; a call that is gone has none."""
    stock(store, b"0", b"1", of=call("new"))
    stock(store, b"2", of=call("old"))
    drawn = DrawnStretch("r", "", "l", call("old"), 0, 0, 1.0)
    transcribing(store).transcribe([drawn, drawn._replace(call=call("never"))])
    keeping(store).adopt([Move(call("old"), call("new"))], lambda _, record: record)
    assert transcript_of(store) == [drawn._replace(call=call("new"), first=2, last=2)]
    keeping(store).forget(call("new"))
    assert transcript_of(store) == []


def test_who_only_reads_is_told(store, reader):
    """Who may not write lists the same, and names are told as they are, whatever they hold."""
    stock(store, b"0")
    take(store, reader="namespace:run:x").settle()
    drawn = DrawnStretch("r", "run:x", "", call(), 0, 0, 1.0)
    transcribing(store).transcribe([drawn, drawn._replace(namespace="", at=2.0)])
    assert transcript_of(reader, namespace="run:x") == [drawn]
    assert transcript_of(reader, namespace="") == [drawn._replace(namespace="", at=2.0)]
    assert isinstance(transcript_of(reader)[0].call, Call)


def test_a_reader_that_is_dropped_was_given_nothing(store):
    """What others drew stays, and so does what the run drew as another reader."""
    stock(store, b"0", b"1")
    for reader in ("namespace:a", "namespace:b"):
        take(store, reader=reader).settle()
    drawn = [DrawnStretch("r", name, "", call(), 0, 1, at) for name, at in (("a", 1.0), ("b", 2.0), ("", 3.0))]
    transcribing(store).transcribe(drawn)
    keeping(store).drop("namespace:a")
    assert transcript_of(store) == drawn[1:]
    assert transcript_of(store, namespace="") == drawn[2:]


def test_many_at_one_time(store):
    """Stretches of several runs, readers, lanes and calls come in one hand, and are told in order of asking."""
    stock(store, *map(bytes, range(3)))
    stock(store, b"0", of=call("other"))
    drawn = [
        DrawnStretch(f"r{n % 3}", "a" if n % 2 else "", "lane" if n % 5 else "", each, n, n, 2.0 * n + nth)
        for n in range(40)
        for nth, each in enumerate((call(), call("other")))
    ]
    transcribing(store).transcribe([*drawn, *drawn])
    transcribing(store).transcribe([])
    assert {*transcript_of(store)} == {*drawn}
    assert [each.at for each in transcript_of(store)] == sorted(each.at for each in drawn)
    assert transcript_of(store, run="r1", namespace="a", lane="lane") == [
        each for each in transcript_of(store) if each[:3] == ("r1", "a", "lane")
    ]
