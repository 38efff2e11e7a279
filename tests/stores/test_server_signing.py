"""Two users of one server, each with a signing key of their own: nobody pays again for what they cannot read."""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import pydantic
import pytest

from memollm import (
    Cache,
    CodeChangedWarning,
    Embedder,
    MemollmWarning,
    Similar,
    UntrustedRecord,
    mode,
    replay,
    run,
)
from memollm.testing import hashed_ngrams

ANN, BOB = "the secret of Ann", "the secret of Bob, too"


@dataclasses.dataclass
class Plain:
    text: str


class Model(pydantic.BaseModel):
    text: str


class Pickled:
    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return self.text == other.text

    __hash__ = None


def completion(text):
    """Return what an SDK returns."""
    chat = pytest.importorskip("openai.types.chat")
    message = {"role": "assistant", "content": text}
    choices = [{"finish_reason": "stop", "index": 0, "message": message}]
    return chat.ChatCompletion.model_validate(
        {"id": text, "choices": choices, "created": 1, "model": "m", "object": "chat.completion"}
    )


@pytest.fixture
def users(kind, monkeypatch):
    """Open the caches of two users of one server; each makes a key of their own known when they first sign."""
    url = kind.server.fresh()
    opened = {}
    for secret in (ANN, BOB):
        monkeypatch.setenv("MEMOLLM_SIGNING_KEY", secret)
        cache = Cache(url)
        cache.cached_llm(lambda: Plain("known"), name=secret, version=1)()
        opened[secret] = cache
    yield opened
    for cache in opened.values():
        cache.close()


def model(text):
    return Model(text=text)


class Study:
    """A function that both users call, each with a cache of their own, and what each has paid for."""

    def __init__(self, users):
        self.users = users
        self.paid = {ANN: [], BOB: []}

    def asking(self, secret, make=Plain, **options):
        """Have a function for a user; what it makes says who has paid for it."""

        def ask(question):
            self.paid[secret].append(question)
            return make(f"{question} {len(self.paid[secret])} of {secret}")

        return self._of(secret, ask, **options)

    def streaming(self, secret, **options):
        def ask(question):
            self.paid[secret].append(question)
            yield Plain(question)
            yield Plain(f"{len(self.paid[secret])} of {secret}")

        return self._of(secret, ask, **options)

    def listing(self, secret, **options):
        def ask(questions):
            self.paid[secret] += questions
            return [Plain(f"{question} of {secret}") for question in questions]

        return self._of(secret, ask, batch="questions", **options)

    def counting(self, secret, **options):
        def ask(question, k=1):
            self.paid[secret] += [question] * k
            return [Plain(f"{number} of {secret}") for number in range(k)]

        return self._of(secret, ask, count="k", **options)

    def coroutine(self, secret, **options):
        async def ask(question):
            self.paid[secret].append(question)
            return Plain(f"{len(self.paid[secret])} of {secret}")

        return self._of(secret, ask, **options)

    def _of(self, secret, ask, **options):
        return self.users[secret].cached_llm(ask, **{"name": "ask", "version": 1, **options})


def drawn_async(ask, n):
    async def draw():
        return await asyncio.gather(*(ask("x") for _ in range(n)), return_exceptions=True)

    found = asyncio.run(draw())
    errors = [each for each in found if isinstance(each, BaseException)]
    if errors:
        raise errors[0]
    return found


class Way(NamedTuple):
    make: str
    options: dict
    draw: Callable


WAYS = {
    "memo": Way("asking", {"pool": 1}, lambda ask: [ask("x")]),
    "pool of 2": Way("asking", {"pool": 2, "namespace": "a"}, lambda ask: ask.draw(2, "x")),
    "run": Way("asking", {}, lambda ask: [ask("x"), ask("x")]),
    "namespace": Way("asking", {"namespace": "a"}, lambda ask: [ask("x"), ask("x")]),
    "n": Way("asking", {"n": 2, "namespace": "a"}, lambda ask: ask("x")),
    "draw": Way("asking", {"namespace": "a"}, lambda ask: ask.draw(2, "x")),
    "map": Way("asking", {"namespace": "a"}, lambda ask: list(ask.map(["x", "y"]))),
    "stream": Way("streaming", {"namespace": "a"}, lambda ask: [*ask("x")]),
    "memo of a stream": Way("streaming", {"pool": 1}, lambda ask: [*ask("x")]),
    "batch": Way("listing", {"namespace": "a"}, lambda ask: ask(["x", "y"])),
    "count": Way("counting", {"namespace": "a"}, lambda ask: ask("x", k=2)),
    "burst": Way("coroutine", {"namespace": "a"}, lambda ask: drawn_async(ask, 3)),
    "async memo": Way("coroutine", {"pool": 1}, lambda ask: drawn_async(ask, 3)),
}


def test_no_way_of_drawing_pays_again(users):
    """P1, P3: it raises as often as it is tried, calls nothing, and once the key is trusted gives what was paid for."""
    study, made, asks = Study(users), {}, {}
    for way, (make, options, draw) in WAYS.items():
        made[way] = draw(getattr(study, make)(ANN, name=way, **options))
        again = {**options, "namespace": "b"} if "namespace" in options else options
        asks[way] = getattr(study, make)(BOB, name=way, **again)
    with run("another"):
        for way, ask in [*asks.items()] * 2:
            with pytest.raises(UntrustedRecord, match="Cache"):
                WAYS[way].draw(ask)
            assert (way, study.paid[BOB]) == (way, [])
        users[BOB].trust(ANN)
        assert {way: WAYS[way].draw(ask) for way, ask in asks.items()} == made
    assert study.paid[BOB] == []


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(Plain, id="dataclass"),
        pytest.param(model, id="pydantic model"),
        pytest.param(Pickled, id="pickle"),
        pytest.param(completion, id="answer of an SDK"),
    ],
)
def test_objects_of_all_kinds(users, make):
    """P10: whatever makes a record name a class, who does not trust its key is told so and pays nothing."""
    study = Study(users)
    made = study.asking(ANN, make, namespace="a").draw(2, "x")
    ask = study.asking(BOB, make, namespace="b")
    with pytest.raises(UntrustedRecord):
        ask("x")
    users[BOB].trust(ANN)
    assert ask.draw(2, "x") == made
    assert study.paid[BOB] == []


def test_in_every_mode(users):
    """P8: no mode takes what it cannot read for a miss; only who asks for new samples in their place pays."""
    study = Study(users)
    study.asking(ANN, namespace="a").draw(2, "x")
    ask = study.asking(BOB, namespace="b")
    for said in ("auto", "offline", "readonly", "resume"):
        with mode(said), pytest.raises(UntrustedRecord):
            ask.with_options(namespace="a" if said == "resume" else "b")("x")
    with replay("a"), pytest.raises(UntrustedRecord):
        ask("x")
    with pytest.raises(UntrustedRecord):
        ask.peek("x")
    assert study.paid[BOB] == []
    with mode("refresh"):
        assert ask("x") == Plain(f"x 1 of {BOB}")
    with pytest.raises(UntrustedRecord):
        study.asking(ANN, namespace="d")("x")
    assert len(study.paid[ANN]) == 2


def test_beside_samples_of_ones_own(users):
    """P3, P7: what a draw has made beside a sample that it cannot read is stored, and given when the key is trusted."""
    study = Study(users)
    study.asking(ANN, namespace="a")("x")
    ask = study.asking(BOB, namespace="b")
    for _ in range(2):
        with pytest.raises(UntrustedRecord):
            ask.draw(3, "x")
    assert len(study.paid[BOB]) == 2
    users[BOB].trust(ANN)
    assert ask.draw(3, "x") == [Plain(f"x 1 of {ANN}"), *(Plain(f"x {n} of {BOB}") for n in (1, 2))]
    assert len(study.paid[BOB]) == 2


def test_older_code(users):
    """Samples of older code are no less foreign."""
    paid = []

    def ask(question):
        return Plain(question)

    def newer(question):
        paid.append(question)
        return Plain(question)

    users[ANN].cached_llm(ask, name="f", namespace="a")("x")
    users[ANN].close()
    changed = users[BOB].cached_llm(newer, name="f", namespace="b", on_change="warn")
    with pytest.warns(CodeChangedWarning), pytest.raises(UntrustedRecord):
        changed("x")
    users[BOB].trust(ANN)
    assert changed("x") == Plain("x")
    assert paid == []


def held(door):
    with door.hold("x") as draw:
        if draw.missing:
            draw.fill(Plain("paid"))
        return draw.value


async def held_async(door):
    async with door.hold("x") as draw:
        if draw.missing:
            await draw.fill(Plain("paid"))
        return draw.value


async def drawn(door):
    async def produce():
        return Plain("paid")

    return await door.adraw("x", produce)


async def looked(door):
    return await door.alookup("x")


AT_A_DOOR = [
    lambda door: door.draw("x", lambda: Plain("paid")),
    lambda door: door.lookup("x"),
    lambda door: asyncio.run(drawn(door)),
    lambda door: asyncio.run(looked(door)),
    lambda door: asyncio.run(held_async(door)),
    held,
    lambda door: door.peek("x"),
    lambda door: door.tally("x"),
]


def test_doors(users):
    """P3: whatever is asked of a door raises, and neither its position nor its slot stays taken."""
    users[ANN].door("d", namespace="a").draw("x", lambda: Plain("first"))
    door = users[BOB].door("d", namespace="b")
    for ask in AT_A_DOOR * 2:
        with pytest.raises(UntrustedRecord):
            ask(door)
    users[BOB].trust(ANN)
    assert door.lookup("x") == Plain("first")


def test_similar_calls(users):
    """A sample of a similar call that cannot be read is told of before the function is called in its place."""
    study = Study(users)
    similar = Similar("question", embed=Embedder(hashed_ngrams, name="hashed"), threshold=0.8)
    study.asking(ANN, similar=similar, pool=1)("What is the capital of France?")
    ask = study.asking(BOB, similar=similar, pool=1)
    with pytest.warns(MemollmWarning, match="trust"):
        ask("Tell me, what is the capital of France?")


def test_adopting(users):
    """What is not trusted is not signed anew: an adoption raises, and nothing of it has happened."""
    study = Study(users)
    study.asking(ANN, namespace="a")("x")
    study.asking(ANN, namespace="a", version=2)("y")
    with pytest.raises(UntrustedRecord):
        users[BOB].adopt("ask", version="1")
    assert study.asking(ANN, namespace="b")("x") == Plain(f"x 1 of {ANN}")
    users[BOB].trust(ANN)
    assert users[BOB].adopt("ask", version="1") == 1
    assert study.asking(BOB, namespace="c", version=2)("x") == Plain(f"x 1 of {ANN}")
    with pytest.raises(UntrustedRecord):
        study.asking(ANN, namespace="d", version=2)("x")
    assert study.paid[BOB] == []
    assert len(study.paid[ANN]) == 2


def test_moved(users, tmp_path):
    """What is copied or loaded keeps its signature: it is counted as untrusted, and never paid for again."""
    study = Study(users)
    study.asking(ANN, namespace="a").draw(2, "x")
    users[ANN].export(tmp_path / "x.jsonl")
    users[BOB].export(tmp_path / "y.jsonl")
    for name in ("x.jsonl", "y.jsonl"):
        with Cache(tmp_path / name.partition(".")[0]) as cache:
            study.users[BOB] = cache
            assert cache.load(tmp_path / name).untrusted == 3
            with pytest.raises(UntrustedRecord):
                study.asking(BOB, namespace="b")("x")
            assert study.paid[BOB] == []
            cache.trust(ANN)
            assert study.asking(BOB, namespace="b").draw(2, "x") == [Plain(f"x {n} of {ANN}") for n in (1, 2)]
