"""The command line on the stores of servers."""

import gc
import json
import re
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from memollm import Cache, Embedder, OptionError, Similar
from memollm.cli._running import run
from memollm.errors import StoreRefused
from memollm.stores.claims import telling_claims
from memollm.stores.reading import reading_store
from memollm.stores.shown import shown_store
from memollm.stores.sqlite.store import SqliteStore
from memollm.testing import hashed_ngrams
from memollm.ui.answers import Answers

GUESTS = {"postgres": "guest", "redis": "redis_guest", "cluster": "cluster_guest"}
"""Who may only read, by the kind of server."""


pytestmark = pytest.mark.usefixtures("team_key")


@pytest.fixture(params=["postgres", "redis", "cluster"])
def server(request):
    """Give each kind of server."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def stocked(server):
    """Fill a cache, and return its URL."""
    url = server.fresh()
    stock(url)
    return url


def stock(url):
    with Cache(url) as cache:
        answers = iter(range(100))
        ask = cache.cached_llm(lambda prompt: f"answer {next(answers)}", name="ask", version=1)
        ask.with_options(namespace="baseline").draw(3, "What is 17 x 23?")
        ask.with_options(namespace="ablation").draw(2, "What is 17 x 23?")
        ask.with_options(pool=1)("Why?")


def key_of(command, url, text):
    (call,) = json.loads(command(url, "ls", "--json", "--text", text))
    return call["key"]


@pytest.fixture
def command(capsys):
    """Run a command on a URL; return what it says, which is no password."""
    collects = gc.get_threshold()

    def say(url, *arguments, code=0):
        assert run([*(["--cache", str(url)] if url else []), *map(str, arguments)]) == code, capsys.readouterr()
        said = "".join(capsys.readouterr())
        assert "hush" not in said
        return said

    yield say
    gc.set_threshold(*collects)


def test_listing(stocked, command):
    """Calls, namespaces, functions, samples and statistics are listed as of a file."""
    assert [call["samples"] for call in json.loads(command(stocked, "ls", "--json"))] == [1, 3]
    assert [(each["name"], each["draws"]) for each in json.loads(command(stocked, "namespaces", "--json"))] == [
        ("ablation", 2),
        ("baseline", 3),
    ]
    assert "answer 2" in command(stocked, "show", key_of(command, stocked, "17 x"))
    assert "ask" in command(stocked, "functions")
    assert "drawn   6 samples" in command(stocked, "stats")
    assert re.search(r"//…@127.*answers, and knows", " ".join(command(stocked, "doctor").split()))


def test_a_report(stocked, command, tmp_path):
    """The page shows what the store holds, and no password."""
    command(stocked, "report", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "answer 2" in page
    assert "hush" not in page


def test_changing(stocked, command):
    """Namespaces are rewound and dropped, and calls forgotten and pruned."""
    command(stocked, "rewind", "ablation", "--yes")
    command(stocked, "drop", "baseline", "--yes")
    assert [each["draws"] for each in json.loads(command(stocked, "namespaces", "--json"))] == [0]
    command(stocked, "forget", key_of(command, stocked, "Why"), "--yes")
    command(stocked, "prune", "--max-samples", "0", "--yes")
    assert json.loads(command(stocked, "ls", "--json")) == []


def test_moving_between_stores(stocked, command, server, tmp_path):
    """What is exported from a server is loaded into a file and from there into another cache, with cursors (P2)."""
    command(stocked, "export", tmp_path / "all.jsonl")
    assert "4 samples" in command(tmp_path / "cache", "load", tmp_path / "all.jsonl")
    command(tmp_path / "cache", "export", tmp_path / "again.jsonl")
    other = server.another()
    assert "4 samples" in command(other, "load", tmp_path / "again.jsonl")
    assert "0 samples" in command(other, "load", tmp_path / "again.jsonl")
    with Cache(other) as cache:
        ask = cache.cached_llm(lambda prompt: "called", name="ask", version=1, namespace="ablation")
        assert [ask("What is 17 x 23?"), ask("What is 17 x 23?")] == ["answer 2", "called"]


def test_copying_between_stores(stocked, command, postgres, tmp_path):
    """A cache moves from a server to a path and on to another schema, with cursors, and once (P2)."""
    other = postgres.another()
    assert "4 samples added" in command(None, "copy", stocked, tmp_path / "cache")
    assert "4 samples added" in command(None, "copy", tmp_path / "cache", other)
    assert "0 samples added, 4 there already" in command(None, "copy", stocked, other)
    with Cache(other) as cache:
        ask = cache.cached_llm(lambda prompt: "called", name="ask", version=1, namespace="ablation")
        assert [ask("What is 17 x 23?"), ask("What is 17 x 23?")] == ["answer 2", "called"]


def test_verifying(stocked, command):
    """What is stored is read and checked as in a file."""
    assert "checked 2 calls, 4 samples" in command(stocked, "verify")


@pytest.fixture
def nowhere(server):
    """Give the URL of a cache that nobody has made; the test is to leave none."""
    url = server.another()
    yield url
    part = re.search(r"(?:schema|prefix)=(\w+)", url)[1]
    assert part not in {name.partition(":")[0] for name in names_at(server)}


def names_at(server):
    """Return by what names a server keeps anything."""
    if server.url.startswith("postgres"):
        import psycopg

        with psycopg.connect(server.url) as connection:
            return [name for (name,) in connection.execute("SELECT nspname FROM pg_namespace")]
    if hasattr(server, "nodes"):
        return [name for node in server.nodes for name in map(bytes.decode, node.say("KEYS", "*"))]
    with server.client() as client:
        return [key.decode() for key in client.keys("*")]


def test_looking_makes_no_cache(nowhere, command, tmp_path):
    """Where a server has no cache it is said so, in one sentence that names the part, and nothing is left there."""
    named = " ".join(re.search(r"(schema|prefix)=(\w+)", nowhere).groups())
    file, page = tmp_path / "all.jsonl", tmp_path / "page.html"
    for words in ["ls"], ["stats"], ["verify"], ["namespaces"], ["runs"], ["export", file], ["report", page]:
        said = " ".join(command(nowhere, *words, code=2).split())
        assert re.search(rf"there is no cache at \w+://…@\S+, in {named} \(--cache\)", said)
    assert not file.exists()
    assert not page.exists()


def test_removing_makes_no_cache(nowhere, command):
    """A command that would remove or move something says the same where a server has no cache, and leaves it so."""
    named = " ".join(re.search(r"(schema|prefix)=(\w+)", nowhere).groups())
    for words in (
        ["prune", "--max-samples", "0", "--yes"],
        ["sweep", "--yes"],
        ["forget", "0e4ad003", "--yes"],
        ["rewind", "baseline", "--yes"],
        ["drop", "baseline", "--yes"],
        ["adopt", "ask"],
    ):
        said = " ".join(command(nowhere, *words, code=2).split())
        assert re.search(rf"there is no cache at \w+://…@\S+, in {named} \(--cache\)", said)


def left_alone(cache):
    """Do all that looks into a cache and removes something of it; yield what is told, or how it is refused."""
    ask = cache.cached_llm(lambda prompt: prompt, name="ask", version=1)
    door = cache.door("answers")
    for act in (
        lambda: cache.prune(max_samples=0),
        lambda: cache.prune(older_than="1d", dry_run=True),
        cache.sweep,
        lambda: cache.rewind("baseline"),
        lambda: cache.drop("baseline"),
        lambda: cache.adopt("ask"),
        lambda: (ask.forget("Why?"), ask.forget_all(), ask.peek("Why?"), str(ask.tally("Why?")), str(ask.stats())),
        lambda: (door.forget("Why?"), door.clear(), door.peek("Why?"), str(door.stats())),
        lambda: (ask.explain("Why?").hit, door.explain("Why?").hit),
        lambda: (str(cache.stats()), cache.namespaces(), cache.holds(), str(cache.similar_report())),
        lambda: cache.copy("memory:"),
    ):
        try:
            told = str(act())
        except OptionError as error:
            told = str(error)
        yield told.replace(repr(cache), "the cache").replace(shown_store(cache.store), "it")


def test_removing_from_nothing_makes_no_cache(nowhere, tmp_path):
    """Who looks and removes where nothing is, is told the same of a server and of a path; both stay as they were."""
    path = tmp_path / "none"
    with Cache(nowhere) as cache, Cache(path) as of_path:
        told = [*left_alone(cache)]
        assert told == [*left_alone(of_path)]
        assert told[3] == told[4] == "the cache has no namespace 'baseline' (it has: none)."
        assert not path.exists()
        with pytest.raises(StoreRefused, match=r"There is no cache at .*nothing was checked"):
            cache.verify()


def test_a_copy_from_nowhere_makes_no_cache(nowhere, command, tmp_path):
    """Neither what is copied from is made, nor what is copied to."""
    assert "there is no cache at" in command(None, "copy", nowhere, tmp_path / "to", code=2)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("tier", [None, "memory:"])
def test_the_doctor_makes_no_cache(nowhere, command, tier, monkeypatch):
    """There need be no cache to ask whether the server answers."""
    if tier:
        monkeypatch.setenv("MEMOLLM_TIER", tier)
    assert "no cache is yet: the first draw makes it" in " ".join(command(nowhere, "doctor").split())


def test_what_cannot_be_repaired_is_named(stocked, command):
    """Repairing is for files: the cache is named as its user would, and what can be done."""
    said = " ".join(command(stocked, "verify", "--repair", code=2).split())
    assert re.search(r"repair mends the file of a cache on a disk, and \w+://…@\S+ has none", said)


def test_who_may_only_read_lists(postgres, command, guest):
    """A user with SELECT alone lists everything, and is told what cannot be done."""
    stock(postgres.fresh())
    assert [call["samples"] for call in json.loads(command(guest, "ls", "--json"))] == [1, 3]
    assert "answer 2" in command(guest, "show", key_of(command, guest, "17 x"))
    assert "read-only here" in command(guest, "drop", "baseline", "--yes", code=2)


def test_the_live_page_is_told(stocked):
    """What the page asks of a cache, it is told of one on a server; what such a store does not keep is left out."""
    with Cache(stocked) as cache:
        answers = Answers(cache, place="here", show=("memollm", "show"))
        try:
            told = answers.overview({"wait": "true"})
            assert [(each.sums.name, each.calls, each.samples) for each in told.report.functions] == [("ask", 2, 4)]
            found = answers.calls({"text": "17 x 23"})
            assert [each.samples for each in found.calls] == [3]
            (told,) = answers.call({"key": found.calls[0].key})
            assert [each.content.text for each in told.call.answers] == ["answer 0", "answer 1", "answer 2"]
            (pair,) = answers.compare({"one": "baseline", "other": "ablation"}).pairs
            assert pair
        finally:
            answers.close()


def test_what_similar_calls_were_lent_is_shown(server, command, request):
    """The command and the live page list what was lent with both texts, also to who may only read."""
    url, texts = server.fresh(), ("What is the capital of France?", "Tell me, what is the capital of France?")
    similar = Similar("question", embed=Embedder(hashed_ngrams, name="hashed"), threshold=0.8)
    with Cache(url) as cache:
        ask = cache.cached_llm(lambda question: "Paris", similar=similar, pool=1, name="answer", version=1)
        assert [ask(text) for text in texts] == ["Paris"] * 2
        answers = Answers(cache, place="here", show=("memollm", "show"))
        try:
            (told,) = answers.overview({"wait": "true"}).report.similar
        finally:
            answers.close()
        assert (told.stored.text, told.asked.text) == texts
    for place in (url, request.getfixturevalue(GUESTS[request.node.callspec.params["server"]])):
        (pair,) = json.loads(command(place, "similar", "--json"))
        assert (pair["stored"], pair["asked"], pair["shadow"]) == (*texts, False)


def test_what_is_being_made_is_told(postgres):
    """A slot that somebody fills is listed for as long as that goes on."""
    began, go_on = Event(), Event()

    def ask(prompt):
        began.set()
        assert go_on.wait(60)
        return prompt

    with Cache(postgres.fresh()) as cache, ThreadPoolExecutor(1) as pool:
        claims = telling_claims(cache.store).claims
        answer = pool.submit(cache.cached_llm(ask, name="ask", version=1, pool=1), "q")
        assert began.wait(60)
        assert [(place.call.function, place.slot) for place in claims()] == [("ask", 0)]
        go_on.set()
        assert answer.result() == "q"
        assert claims() == []


def test_who_may_only_read_takes_out(server, request, command, tmp_path):
    """A user who may write nothing checks a server's cache, exports it and copies it away, with cursors (P2)."""
    guest = request.getfixturevalue(GUESTS[request.node.callspec.params["server"]])
    stock(server.fresh())
    assert "4 samples" in command(guest, "verify")
    command(guest, "export", tmp_path / "all.jsonl")
    assert "4 samples" in command(tmp_path / "cache", "load", tmp_path / "all.jsonl")
    assert "4 samples added" in command(None, "copy", guest, tmp_path / "copied")
    with Cache(guest) as reading:
        assert reading.export(tmp_path / "again.jsonl").samples == 4
        assert reading.copy(tmp_path / "copied").added == 0
    for path in ("cache", "copied"):
        with Cache(tmp_path / path) as cache:
            ask = cache.cached_llm(lambda prompt: "called", name="ask", version=1, namespace="ablation")
            assert [ask("What is 17 x 23?"), ask("What is 17 x 23?")] == ["answer 2", "called"]


def test_a_file_that_is_only_read_is_taken_out(tmp_path):
    """What only reads a file checks and exports what a writer would, whether somebody has it open or nobody has."""
    stock(tmp_path / "cache")
    with Cache(tmp_path / "cache") as writing, Cache(reading_store(writing.store)) as reading:
        writing.export(tmp_path / "all.jsonl")
        reading.export(tmp_path / "while.jsonl")
    with Cache(reading_store(SqliteStore(tmp_path / "cache"))) as reading:
        reading.export(tmp_path / "after.jsonl")
        assert reading.copy(tmp_path / "copied").added == 4
        assert reading.verify().samples == 4
    for name in ("while", "after"):
        assert (tmp_path / f"{name}.jsonl").read_bytes() == (tmp_path / "all.jsonl").read_bytes()


def test_copying_from_nowhere(command, tmp_path):
    """Who names no cache to copy from is told of no option that copy does not take."""
    said = command(None, "copy", tmp_path / "none", tmp_path / "to", code=2)
    assert "there is no cache at" in said
    assert "--cache" not in said
