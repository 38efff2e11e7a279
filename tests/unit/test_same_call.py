"""What must not make a call another one: where a checkout lies, how a number is written, what was not given (P9)."""

from __future__ import annotations

import asyncio
import functools
import shutil
from typing import Optional

import anthropic
import openai
import pytest
from models import run

from memollm import Cache, CodeChangedWarning
from tests.programs import Project

memory = Cache("memory:")


@pytest.mark.parametrize("hint", [float, "float", float | None, Optional[float], "float | None", "Optional[float]"])  # noqa: UP045
def test_a_whole_number_is_the_float_that_a_parameter_says_it_is(hint):
    """`temperature=0` and `0.0` are one call where the hint says float, and only there."""

    def ask(q, temperature):
        return q

    ask.__annotations__ = {"temperature": hint}
    asked = memory.cached_llm(ask, name="hinted", version=1)
    assert asked.key("q", 0) == asked.key("q", 0.0) == asked.key("q", temperature=0)
    assert asked.key("q", 0) != asked.key("q", False)
    assert asked.key("q", 0) != asked.key("q", 1)
    assert asked.key("q", 2**53 + 1) != asked.key("q", float(2**53))


@pytest.mark.parametrize("hint", [int, object, "float | int", "list[float]", list[float]])
def test_elsewhere_the_types_differ(hint):
    """P8: a function may tell 0 and 0.0 apart."""

    def ask(q, temperature):
        return q

    ask.__annotations__ = {"temperature": hint}
    asked = memory.cached_llm(ask, name="other", version=1)
    assert asked.key("q", 0) != asked.key("q", 0.0)


class Missing:
    pass


NOTHING = object()


def test_what_was_not_given_is_no_part_of_a_call():
    """A default that only marks that nothing was given stands for nothing."""

    @memory.cached_llm(name="marked", version=1)
    def ask(q, top=openai.omit, seed=openai.NOT_GIVEN, stop=Missing(), last=NOTHING):  # noqa: B008
        return q

    assert ask.key("q") == ask.key("q", openai.Omit(), openai.NotGiven(), Missing(), NOTHING)
    assert len({ask.key("q"), ask.key("q", 1), ask.key("q", seed=1), ask.key("q", last=None)}) == 4


@pytest.mark.parametrize("kind", [openai.OpenAI, openai.AsyncOpenAI])
def test_a_clients_own_method_is_memoized(kind):
    """The call is keyed by what is asked and whom, and a coroutine function is told through its wrapper."""
    client, other, elsewhere = (kind(api_key="k"), kind(api_key="l"), kind(api_key="k", base_url="http://local/v1"))
    create, again, there = (
        memory.cached_llm(each.chat.completions.create, name="create", version=1) for each in (client, other, elsewhere)
    )
    messages = [{"role": "user", "content": "hi"}]
    key = create.key(messages=messages, model="m", temperature=0)
    assert key == again.key(model="m", messages=messages, temperature=0.0)
    assert key != there.key(messages=messages, model="m", temperature=0)
    assert create._self_function.kind.name == ("COROUTINE" if kind is openai.AsyncOpenAI else "PLAIN")


def test_another_providers_client_is_keyed_alike():
    """Whoever says whom it speaks to needs no more."""
    create = memory.cached_llm(anthropic.Anthropic(api_key="k").messages.create, name="messages", version=1)
    assert create.key(max_tokens=1, messages=[], model="m")


def test_a_wrapper_that_passes_a_coroutine_on_is_awaited_and_one_that_runs_it_is_not():
    """Which of the two it is, its code says."""

    async def ask(q):
        return q

    @functools.wraps(ask)
    def passing(q):
        return ask(q)

    @functools.wraps(ask)
    def running(q):
        return asyncio.run(ask(q))

    assert run(memory.cached_llm(passing, name="passing", version=1)("q")) == "q"
    assert memory.cached_llm(running, name="running", version=1)("q") == "q"


PLACED = """
import logging
from pathlib import Path
from memollm import Cache
HERE = Path(__file__).parent
DATA = {"file": str(HERE / "data.json")}
LOG = logging.getLogger(__name__)
def ask(q):
    logging.getLogger(__name__).info(q)
    return __file__ + str(HERE) + DATA["file"] + q
if __name__ == "__main__":
    print(Cache("memory:").cached_llm(ask).key("q"))
"""


def test_another_checkout_and_another_way_to_run_draw_nothing_anew(tmp_path):
    """Paths under the project's root are one path, and a module's name is one name."""
    keys = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        project = Project(tmp_path / name)
        project.write("study.py", PLACED)
        project.write("run.py", "import study\nprint(study.Cache('memory:').cached_llm(study.ask).key('q'))\n")
        keys += [*project.run("study.py"), *project.run("run.py")]
        project.close()
    assert len({*keys}) == 1
    shutil.rmtree(tmp_path / "one")


@pytest.mark.filterwarnings("ignore:memollm cannot read")
def test_the_warning_names_what_may_be_ignored(tmp_path):
    """A start time that differs from run to run is named with the way out."""
    space = {}

    def program(start):
        exec(f"START = {start}\ndef ask(q): return q if START else q", space)
        return space["ask"]

    with Cache(tmp_path / "cache") as cache:
        cache.cached_llm(program(1), name="timed")("q")
        with pytest.warns(CodeChangedWarning, match=r'is left out by ignore=\("START",\)'):
            cache.cached_llm(program(2), name="timed")("q")
