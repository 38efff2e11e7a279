"""What older code has left is read by newer code where the user says so, and never written into (P1 to P4, P8)."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import linecache
import os
import subprocess
import sys
import warnings

import pytest
from hypothesis import given, settings, strategies as st
from models import PATIENCE, run

import memollm
from memollm import Cache, CacheMiss, CodeChanged, Embedder, OptionError, ReplayExhausted, Similar, configure
from memollm.stores.looking import looking
from memollm.stores.memory.store import MemoryStore
from memollm.testing import hashed_ngrams
from tests.programs import clean_environment

pytestmark = pytest.mark.filterwarnings("ignore::memollm.CodeChangedWarning")
MOMENTS = itertools.count(1)
NEAR = Similar("prompt", embed=Embedder(hashed_ngrams, name="hashed"), threshold=0.5)
PROGRAM = """
STYLE = "one"
MADE = []

def ask(prompt, n=1):
    MADE.append(prompt)
    return f"{STYLE} {prompt} {len(MADE)}"

async def later(prompt):
    return ask(prompt)

def several(prompt, n=1):
    return [ask(prompt) for _ in range(n)]

def each(prompts):
    return [ask(prompt) for prompt in prompts]

def stream(prompt):
    yield ask(prompt)
"""


class Editing:
    """A program's file, which is edited and run again, each time as a new process would."""

    def __init__(self, folder, place):
        self._file = folder / "program.py"
        self._place = place
        self.opened = []
        self.module = None

    def run(self, style):
        """Edit the file, import it anew and open its cache anew."""
        self._file.write_text(PROGRAM.replace('"one"', f'"{style}"'), encoding="utf-8")
        os.utime(self._file, (next(MOMENTS), next(MOMENTS)))
        spec = importlib.util.spec_from_file_location("program", self._file)
        self.module = sys.modules["program"] = importlib.util.module_from_spec(spec)
        linecache.checkcache()
        spec.loader.exec_module(self.module)
        self.opened.append(Cache(self._place))
        return self.opened[-1]

    def ask(self, style, function="ask", **options):
        """Run so, and decorate a function; where nothing else is said it reads from the start."""
        options = {"on_change": "ignore", "namespace": f"reader {next(MOMENTS)}", **options}
        return self.run(style).cached_llm(getattr(self.module, function), **options)

    def close(self):
        for cache in self.opened:
            cache.close()
        sys.modules.pop("program", None)


@pytest.fixture(params=["memory", "sqlite"])
def edit(request, project, tmp_path):
    editing = Editing(project, MemoryStore() if request.param == "memory" else tmp_path / "cache")
    yield editing
    editing.close()


def test_what_new_code_makes_is_its_own_and_undoing_the_edit_does_not_find_it(edit):
    """The old samples come first and then the new code's; the old code, back again, reads its own and goes on."""
    one = edit.ask("one")
    assert one.draw(2, "x") == ["one x 1", "one x 2"]
    two = edit.ask("two")
    assert two.draw(3, "x") == ["one x 1", "one x 2", "two x 1"]
    assert two.peek("x") == ["one x 1", "one x 2", "two x 1"]
    assert edit.ask("one").peek("x") == ["one x 1", "one x 2"]
    assert edit.ask("one").draw(3, "x") == ["one x 1", "one x 2", "one x 1"]
    assert edit.ask("two").draw(4, "x") == ["one x 1", "one x 2", "one x 1", "two x 1"]


def test_no_sample_comes_twice_in_a_namespace_whatever_is_edited(edit):
    """P1: a namespace's cursor goes on in what the old code left, then in the new code's."""
    got = edit.ask("one", namespace="a").draw(2, "x")
    edit.ask("one", namespace="b").draw(3, "x")
    got += edit.ask("two", namespace="a").draw(1, "x")
    got += edit.ask("two", namespace="a").draw(1, "x")
    got += edit.ask("three", namespace="a").draw(1, "x")
    got += edit.ask("one", namespace="a").draw(1, "x")
    assert got == ["one x 1", "one x 2", "one x 1", "two x 1", "three x 1", "one x 1"]
    assert edit.ask("three", namespace="c").draw(6, "x") == [
        "one x 1", "one x 2", "one x 1", "one x 1", "two x 1", "three x 1",
    ]  # fmt: skip


def test_with_new_nothing_old_is_read(edit):
    """The policy is that of the program that runs: under "new" only the new code's own samples count."""
    edit.ask("one").draw(2, "x")
    edit.ask("two").draw(3, "x")
    assert edit.ask("two", on_change="new").draw(2, "x") == ["two x 1", "two x 1"]
    assert edit.ask("two", on_change="warn").peek("x") == ["one x 1", "one x 2", "two x 1", "two x 1"]


def test_memoization_keeps_to_the_sample_that_it_has(edit):
    """With `pool=1` the old sample serves; a call that only the new code has made has its own."""
    assert edit.ask("one", pool=1)("x") == "one x 1"
    two = edit.ask("two", pool=1)
    assert [two("x"), two("x"), two("y"), two("y")] == ["one x 1", "one x 1", "two y 1", "two y 1"]
    edit.ask("one", pool=1)("y")
    assert edit.ask("two", pool=1)("y") == "two y 1"


@pytest.mark.parametrize("on_change", ["warn", "ignore"])
def test_similar_calls_of_older_code_lend(edit, on_change):
    """What older code has answered is lent, and what it has lent is given again; then comes the newer code's own."""
    options = {"pool": 1, "similar": NEAR, "on_change": on_change}
    one = edit.ask("one", **options)
    assert [one("tell me of the owls"), one("Tell me of the owls")] == ["one tell me of the owls 1"] * 2
    two = edit.ask("two", **options)
    assert two("Tell me of the owls") == "one tell me of the owls 1", "what was lent before"
    assert two("tell me all of the owls") == "one tell me of the owls 1", "the nearest"
    assert two("something else") == "two something else 1"
    three = edit.ask("three", **options)
    assert three("tell me all of the owls") == "one tell me of the owls 1", "what the code between has found"
    assert three("something else entirely") == "two something else 1"
    assert three.with_options(mode="refresh")("tell me of the owls") == "three tell me of the owls 1"
    assert three("Tell me of the owls") == "one tell me of the owls 1", "a text goes where it went"
    assert edit.ask("one", **options)("Tell me of the owls!") == "one tell me of the owls 1"


@pytest.mark.parametrize("on_change", ["warn", "ignore"])
def test_a_report_replays_older_code_with_what_it_is_lent_to(edit, on_change):
    """What a shadow's report says of code that has changed is what lending does: calls of both are one partition."""
    shadow = Similar("prompt", embed=Embedder(hashed_ngrams, name="hashed"), shadow=True)
    options = {"pool": 1, "similar": shadow, "on_change": on_change}
    for style, text in (("one", "{}"), ("two", "all {}"), ("three", "so {}")):
        ask = edit.ask(style, **options)
        for known in ("tell of the owls", "where do my bats live"):
            ask(text.format(known))
    report = edit.opened[-1].similar_report(same=lambda one, other: ("owls" in one) == ("owls" in other))
    line = report.lines()[-1]
    assert (line.calls, line.lent, line.agreed) == (6, 4, 4)
    alone = edit.ask("four", **options | {"on_change": "new"})
    alone("tell me of the owls")
    alone("tell me all of the owls")
    assert edit.opened[-1].similar_report().calls == 8


def test_with_new_nothing_old_is_lent(edit):
    """Under "new" no vector and no match of older code is looked at."""
    edit.ask("one", pool=1, similar=NEAR)("tell me of the owls")
    two = edit.ask("two", pool=1, similar=NEAR, on_change="new")
    assert two("Tell me of the owls") == "two Tell me of the owls 1"


@pytest.mark.parametrize("left", range(5))
def test_a_pool_begins_with_what_is_left(edit, left):
    """A pool of three has as many samples: what the old code has filled of it, and for the rest the new code's."""
    if left:
        edit.ask("one").draw(left, "x")
    two = edit.ask("two", pool=3, namespace="a")
    first = two.draw(3, "x")
    assert [each.split()[0] for each in first] == ["one"] * min(left, 3) + ["two"] * max(0, 3 - left)
    assert sorted(two("x") for _ in range(3)) == sorted(first)
    assert sorted(two.draw(2, "x") + two.draw(1, "x")) == sorted(first)
    assert len(edit.module.MADE) == max(0, 3 - left)


def test_every_kind_of_function_reads_on(edit):
    """Coroutine functions, counts, batches and streams: what is stored is read, and only what is missing is made."""
    run(edit.ask("one", "later").draw(1, "x"))
    assert run(edit.ask("two", "later").draw(2, "x")) == ["one x 1", "two x 1"]
    assert run(edit.ask("two", "later").map(["x", "y"])) == ["one x 1", "two y 1"]
    edit.ask("one", "several", count="n").draw(2, "x")
    assert edit.ask("two", "several", count="n")("x", n=4) == ["one x 1", "one x 2", "two x 1", "two x 2"]
    edit.ask("one", "each", batch="prompts")(["a", "b"])
    assert edit.ask("two", "each", batch="prompts")(["c", "a", "b", "d"]) == [
        "two c 1",
        "one a 1",
        "one b 2",
        "two d 2",
    ]
    assert edit.ask("two", "each", batch="prompts").one("a") == "one a 1"
    list(edit.ask("one", "stream")("x"))
    assert list(edit.ask("two", "stream")("x")) == ["one x 1"]
    assert list(edit.ask("two", "stream")("y")) == ["two y 1"]


def test_many_tasks_read_on_without_getting_one_twice(edit):
    """P1, P4: draws at once take what is left, each another, and make the rest."""
    run(edit.ask("one", "later", namespace="a").draw(5, "x"))
    two = edit.ask("two", "later", namespace="b")

    async def many():
        return await asyncio.wait_for(asyncio.gather(*(two("x") for _ in range(9))), PATIENCE)

    got = run(many())
    assert sorted(got)[:5] == [f"one x {number}" for number in range(1, 6)]
    assert sorted(got)[5:] == [f"two x {number}" for number in range(1, 5)]


def test_a_failed_draw_gives_back_what_it_had_read(edit):
    """P3: where the new code raises, the old samples that the draw had taken are drawn by the next."""
    edit.ask("one", namespace="b").draw(1, "x")
    two = edit.ask("two", namespace="a")
    edit.module.MADE = None
    with pytest.raises(AttributeError):
        two.draw(2, "x")
    edit.module.MADE = []
    assert two.draw(2, "x") == ["one x 1", "two x 1"]


def test_what_was_rewound_is_read_again(edit):
    """A namespace that is set to its start begins with the old code's samples again."""
    edit.ask("one", namespace="a").draw(1, "x")
    two = edit.ask("two", namespace="a")
    assert two.draw(2, "x") == ["two x 1", "two x 2"]
    edit.opened[-1].rewind("a")
    assert two.draw(3, "x") == ["one x 1", "two x 1", "two x 2"]


def test_a_replay_reads_what_the_namespace_drew_of_both(edit):
    """What a namespace drew under either code is replayed, in order, and nothing else."""
    edit.ask("one", namespace="b").draw(2, "x")
    edit.ask("two", namespace="a").draw(3, "x")
    two = edit.ask("two", namespace="c")
    with memollm.replay("a"):
        assert [*two.draw(2, "x"), two("x")] == ["one x 1", "one x 2", "two x 1"]
        with pytest.raises(ReplayExhausted):
            two("x")
    with memollm.replay("b"):
        assert two.draw(2, "x") == ["one x 1", "one x 2"]


def test_modes_hold(edit):
    """Offline reads what is left and calls nothing; refresh makes the new code's anew."""
    edit.ask("one").draw(1, "x")
    offline = edit.ask("two", mode="offline")
    assert offline("x") == "one x 1"
    with pytest.raises(CacheMiss):
        offline("x")
    assert edit.ask("two", mode="refresh")("x") == "two x 1"
    assert edit.ask("two", mode="off")("x") == "two x 1"


def test_arguments_that_are_kept_as_digests_are_read_on(edit):
    """The old call is known by its key where its form is not stored."""
    edit.ask("one", keep_arguments=False).draw(1, "x")
    assert edit.ask("two", keep_arguments=False).draw(2, "x") == ["one x 1", "two x 1"]


def test_forgetting_a_call_forgets_what_it_reads(edit):
    """After `.forget` the call is made anew, whoever had made what was there."""
    edit.ask("one").draw(2, "x")
    two = edit.ask("two")
    two.draw(3, "x")
    assert two.forget("x") == 3
    assert two.peek("x") == []
    assert two.draw(1, "x") == ["two x 2"]


EDITS = st.lists(
    st.tuples(st.sampled_from(["one", "two", "three"]), st.sampled_from(["a", "b"]), st.integers(1, 3)), max_size=8
)


@settings(deadline=None, max_examples=40)
@given(EDITS)
def test_whatever_is_edited_no_namespace_gets_one_twice(tmp_path_factory, edits):
    """P1, P2: over any edits and undoings a namespace's samples differ, and the other gets them for nothing."""
    editing = Editing(tmp_path_factory.mktemp("edited"), MemoryStore())
    numbers, got, made = itertools.count(), {"a": [], "b": []}, 0
    try:
        for style, namespace, n in edits:
            ask = editing.ask(style, namespace=namespace)
            editing.module.MADE = type("Made", (), {"append": lambda *_: None, "__len__": lambda _: next(numbers)})()
            before = next(numbers)
            got[namespace] += ask.draw(n, "x")
            made += next(numbers) - before - 1
    finally:
        editing.close()
    assert all(len(set(samples)) == len(samples) for samples in got.values())
    assert made == len({*got["a"], *got["b"]})


# What is said.


def test_an_edit_is_announced_once_with_what_it_was_edited_from(edit):
    """Each edit is told against the code that it was made from, and an undoing as what it is."""
    told = []
    for style in ("one", "two", "two", "three", "two"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ask = edit.ask(style, on_change="warn")
            ask("x"), ask("y")
            edit.ask(style, on_change="warn")("x")
        told.append([str(each.message) for each in caught])
    assert [len(each) for each in told] == [0, 1, 0, 1, 1]
    assert 'constant program.STYLE: "one" -> "two"' in told[1][0]
    assert 'constant program.STYLE: "two" -> "three"' in told[3][0]
    assert "is as it was before" in told[4][0]
    assert "stored apart" in told[1][0]


def test_explaining_a_miss_says_what_changed_in_the_code(edit, capsys):
    """Instead of two fingerprints, `.explain` names the constant with both values."""
    edit.ask("one")("x")
    explanation = edit.ask("two", on_change="new").explain("x")
    assert 'constant program.STYLE: "one" -> "two"' in str(explanation)
    assert "code:" not in str(explanation).partition("near:")[2]
    assert edit.ask("two", on_change="warn").explain("x").hit
    assert "1 of them older code has made" in capsys.readouterr().out


# The policy of a project.


def test_a_project_can_have_a_policy(edit, project, monkeypatch):
    """pyproject.toml, the environment, `configure` and the decorator say it, the later over the earlier."""
    edit.ask("one")("x")
    (project / "pyproject.toml").write_text('[tool.memollm]\non_change = "error"\n', encoding="utf-8")
    monkeypatch.setattr("memollm._calls.configuration.configuration._project", None)
    with pytest.raises(CodeChanged):
        edit.ask("two", on_change=None)("x")
    monkeypatch.setenv("MEMOLLM_ON_CHANGE", "ignore")
    assert edit.ask("two", on_change=None).peek("x") == ["one x 1"]
    configure(on_change="new")
    assert edit.ask("two", on_change=None).peek("x") == []
    assert edit.ask("two", on_change="ignore").peek("x") == ["one x 1"]


def test_a_policy_that_is_none_is_refused(monkeypatch):
    """The error says what there is."""
    with pytest.raises(OptionError, match=r"on_change='wran'.*Did you mean 'warn'"):
        configure(on_change="wran")
    monkeypatch.setenv("MEMOLLM_ON_CHANGE", "never")
    with pytest.raises(OptionError, match="MEMOLLM_ON_CHANGE='never'"):
        memollm._calls.configuration.configuration.get("on_change")


# Two programs of one name.

RUN = """
from memollm import cached_llm
STYLE = "{style}"

@cached_llm(namespace="a"{options})
def ask(prompt):
    return STYLE

print(ask("x"))
"""


@pytest.mark.parametrize("options", ["", ', on_change="ignore"', ', on_change="error"'])
def test_programs_of_one_name_are_told_apart_by_their_folders(project, options):
    """exp1/run.py and exp2/run.py are no edits of each other: no warning, nothing shared, and no error."""

    def ran(name):
        return subprocess.run(
            [sys.executable, "-W", "error", "run.py"],
            cwd=project / name,
            env=clean_environment() | {"MEMOLLM_CACHE": str(project / "cache")},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()

    for style in ("exp1", "exp2"):
        (project / style).mkdir()
        (project / style / "run.py").write_text(RUN.format(style=style, options=options), encoding="utf-8")
    assert [ran("exp1"), ran("exp2"), ran("exp1"), ran("exp2")] == ["exp1", "exp2", "exp1", "exp2"]
    with Cache(project / "cache") as cache:
        assert sorted(looking(cache.store).notes("function")) == ["run.ask in exp1", "run.ask in exp2"]


def test_functions_that_a_loop_makes_are_no_edits_of_each_other(tmp_path):
    """A default that takes over a variable tells them apart, in lambdas too, and nothing warns of a change."""
    with Cache(tmp_path / "cache") as cache:
        made = []
        for style in ("a", "b"):

            @cache.cached_llm(pool=1)
            def ask(q, *, style=style):
                return style + q

            made.append(ask)
        made += [cache.cached_llm(pool=1)(lambda q, other=style: other + q) for style in ("c", "d")]
        assert [ask("q") for ask in made] == ["aq", "bq", "cq", "dq"]


@pytest.mark.parametrize("on_change", ["warn", "ignore"])
def test_what_is_set_while_the_program_runs_has_no_older_samples(edit, on_change):
    """State is another version than the edited code, so what the older code left is not its own; set back, it is."""
    edit.ask("one").draw(2, "q")
    ask = edit.ask("two", on_change=on_change)
    assert ask("q") == "one q 1"
    edit.module.STYLE = "three"
    assert ask.peek("q") == []
    assert ask("q") == "three q 1"
    edit.module.STYLE = "two"
    assert ask("q") == "one q 2"
    assert ask("q") == "two q 2"


def _changing(edit, monkeypatch, style):
    """Set the style as soon as the store has been asked."""
    store = edit.opened[-1].store
    perform = store.perform

    def performing(requests):
        done = perform(requests)
        edit.module.STYLE = style
        return done

    monkeypatch.setattr(store, "perform", performing)


def test_a_draw_of_older_samples_that_waited_is_taken_anew(edit, monkeypatch):
    """What changes before the function begins leaves no older sample in the answer, and gives those back."""
    edit.ask("one")("q")
    ask = edit.ask("two")
    ask.key("q")
    with monkeypatch.context() as patched:
        _changing(edit, patched, "three")
        assert ask.draw(2, "q") == ["three q 1", "three q 2"]
    edit.module.STYLE = "two"
    assert ask.draw(2, "q") == ["one q 1", "two q 3"]
    assert len(edit.module.MADE) == 3


def test_a_replay_that_waited_reads_what_the_function_is_then(edit, monkeypatch):
    """What changes before the function begins leaves nothing in the answer that another version has said."""
    ask = edit.ask("one", namespace="x")
    ask("q")
    edit.module.STYLE = "three"
    ask("q")
    edit.module.STYLE = "one"
    with memollm.replay("x", then="draw"), monkeypatch.context() as patched:
        _changing(edit, patched, "three")
        assert ask.draw(2, "q") == ["three q 2", "three q 3"]
    assert [ask.peek("q"), edit.module.STYLE] == [["three q 2", "three q 3"], "three"]
