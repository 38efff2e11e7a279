"""A SQLite store keeps what runs drew with the calls and readers that it knows."""

from hands import stock, take

from memollm._types.calls import Call
from memollm._types.counting import DrawnStretch
from memollm._types.listings import Move
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.stores.sqlite.reader import SqliteReader
from memollm.stores.transcripts import transcribing, transcript_of
from memollm.testing._bench import call


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


def test_who_only_reads_is_told(store):
    """A reader of the file lists the same, and names are told as they are, whatever they hold."""
    stock(store, b"0")
    take(store, reader="namespace:run:x").settle()
    drawn = DrawnStretch("r", "run:x", "", call(), 0, 0, 1.0)
    transcribing(store).transcribe([drawn, drawn._replace(namespace="", at=2.0)])
    reader = SqliteReader(store.files.database)
    assert transcript_of(reader, namespace="run:x") == [drawn]
    assert transcript_of(reader, namespace="") == [drawn._replace(namespace="", at=2.0)]
    assert isinstance(transcript_of(reader)[0].call, Call)
    reader.close()
