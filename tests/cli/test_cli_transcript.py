"""Looking at runs: they are listed with their program, and shown as transcripts, chats message by message."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from memollm import Cache
from memollm._upkeep.conversations import conversation
from memollm._views.report.collect import Bounds, collect
from memollm._views.runs import find_run
from memollm.cli._running import run
from memollm.errors import OptionError

AGENT = """
import memollm
from memollm import cached_llm

CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"b": 2, "a": 1}'}}

@cached_llm(namespace="agents", version=1)
def chat(messages, model="small"):
    asked = messages[-1]["role"] == "user"
    said = {"content": None, "tool_calls": [CALL]} if asked else {"content": "It is 3.\\nReally."}
    return {"choices": [{"index": 0, "message": {"role": "assistant", **said}}]}

@cached_llm(version=1)
def rate(answer):
    return {"score": 1}

with memollm.lane("left"):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 2?"}]
    asked = chat(messages)["choices"][0]["message"]
    rate("x")
    messages = [*messages, asked, {"role": "tool", "tool_call_id": "c1", "content": "3"}]
    chat.draw(2, messages)
rate("line one\\nline \\"two\\"")
"""
CHAT = """  messages:
    system: Be brief.
    user: 1 + 2?
  model = "small"
  → add({"a": 1, "b": 2})
"""
GOES_ON = """  messages: 3 messages as before
    tool: 3
  model = "small"
  → It is 3. ⏎ Really.
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Run the agent twice: the second run draws on in its namespace, and replays the rest."""
    folder = tmp_path_factory.mktemp("agent")
    (folder / "pyproject.toml").touch()
    (folder / "agent.py").write_text(AGENT, encoding="utf-8")
    for _ in range(2):
        subprocess.run([sys.executable, "agent.py"], cwd=folder, timeout=60, check=True)
    return folder / ".memollm"


@pytest.fixture
def memollm(path, capsys):
    """Run a command upon that cache; return what it wrote, and what it said besides."""

    def ran(*arguments):
        run([*arguments, "--cache", str(path)])
        return capsys.readouterr()

    return ran


def test_runs_are_listed_and_shown_in_their_order(memollm):
    """A run is listed with its time and program, and shown as a transcript in which a chat is told once."""
    head, *rows = memollm("runs").out.splitlines()
    assert head.split() == ["RUN", "BEGUN", "BY", "DRAWS", "HITS", "PAID", "SPENT", "TIME"]
    assert [row.split()[3:7] for row in rows] == [["agent.py", "5", "2", "3"], ["agent.py", "5", "0", "5"]]
    (listed,) = json.loads(memollm("runs", "--json", "--limit", "1").out)
    assert (listed["run"][:10], listed["program"], listed["draws"]) == (rows[0][:10], "agent.py", 5)
    assert "1 of 2 runs; --limit 0 lists all." in memollm("runs", "--limit", "1").err
    shown = memollm("show", "--run", "last").out
    head, day, *parts = shown.split("\n\n")
    assert head.startswith(f"run {listed['run']}, agent.py, begun {day}")
    assert head.endswith(": 5 samples drawn")
    assert [part.split()[2:5] for part in parts[:5]] == [
        ["agent.chat", "slot", "1"], ["agent.rate", "slot", "0"], ["agent.chat", "slot", "2"],
        ["agent.chat", "slot", "3"], ["agent.rate", "slot", "0"],
    ]  # fmt: skip
    assert "in agents  lane left" in parts[0]
    assert CHAT.rstrip() in parts[0]
    assert GOES_ON.rstrip() in parts[2]
    assert "messages: 4 messages as before\n  model" in parts[3]


def test_statistics_name_runs_by_their_programs(memollm):
    """Where figures are told by run, each run has its program and its time."""
    rows = memollm("stats", "--by", "run").out.splitlines()[-2:]
    assert [(len(row.split()[0]), row.split()[3]) for row in rows] == 2 * [(10, "agent.py")]
    groups = json.loads(memollm("stats", "--by", "run", "--json").out)["groups"]
    assert [(len(each["run"]), each["program"], each["first"][:2]) for each in groups] == 2 * [(32, "agent.py", "20")]


def test_namespaces_and_lanes_are_shown(memollm):
    """A namespace is shown over all its runs, a lane with what else was drawn in it; in full and as JSON, too."""
    shown = memollm("show", "--namespace", "agents", "--limit", "2")
    assert shown.out.startswith("namespace agents: 6 samples drawn\n")
    assert shown.err == "2 of 6 draws; --limit 0 shows all.\n"
    full = memollm("show", "--namespace", "agents", "--full").out
    assert "  → It is 3.\n      Really.\n" in full
    lane = json.loads(memollm("show", "--run", "last", "--lane", "left", "--json").out)
    assert [(each["function"], each["slot"], each["namespace"]) for each in lane] == [
        ("agent.chat", 1, "agents"), ("agent.rate", 0, None), ("agent.chat", 2, "agents"), ("agent.chat", 3, "agents"),
    ]  # fmt: skip
    assert lane[0]["answer"] == 'add({"a": 1, "b": 2})'
    assert lane[2]["arguments"]["messages"][-1] == {"role": "tool", "tool_call_id": "c1", "content": "3"}
    key = lane[0]["key"]
    assert 'messages:\n  system: Be brief.\n  user: 1 + 2?\nmodel = "small"\n' in memollm("show", key).out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name the KEY of a call, or a --run, --namespace or --lane"),
        (["abc", "--run", "last"], "name the KEY of a call, or a --run"),
        (["--namespace", "agent"], "the cache has no namespace 'agent'. Did you mean 'agents'?"),
        (["--run", ""], "'' begins the ids of 2 runs. Give more of it."),
        (["--run", "zzz"], "the cache knows no run 'zzz'. `memollm runs` lists them."),
    ],
)
def test_what_cannot_be_shown_is_said(memollm, arguments, told):
    """Nothing named, too much named, or a name that is none or several."""
    assert told in memollm("show", *arguments).err


def test_a_run_is_found_by_its_beginning(path):
    """The beginning of an id is enough; where nothing has drawn there is no last run."""
    with Cache(path) as cache:
        last = find_run(cache, "last")
        assert find_run(cache, last.id[:12]) == last
    with Cache("memory:") as empty, pytest.raises(OptionError, match=r"knows no run yet"):
        find_run(empty, "last")


def test_the_report_has_runs_and_what_they_drew(path):
    """The page lists runs, and the latest draws in their order, as many as there is room for."""
    with Cache(path) as cache:

        def report(**bounds):
            return collect(cache, place="x", made=0.0, show=("memollm", "show"), bounds=Bounds(**bounds))

        whole, some = report(), report(draws=4)
        assert report(calls=0).turns == report(samples=0).turns == ()
        assert [len(report(text=size).turns) for size in (0, 1)] == [0, 0]
    assert [(run.program, run.sums.draws) for run in whole.runs] == [("agent.py", 5), ("agent.py", 5)]
    assert whole.drawn == len(whole.turns) == 10
    third = whole.turns[2]
    assert [(part.label, part.content.text) for part in third.parts] == [("tool", "3"), ("model", "small")]
    assert (third.earlier, third.content.text, third.lane) == (3, "It is 3.\nReally.", "left")
    assert [turn.at for turn in some.turns] == [turn.at for turn in whole.turns[-4:]]
    assert any("6 draws of the runs and namespaces" in sentence for sentence in some.left_out)


def test_ls_finds_what_it_prints_and_nothing_else(memollm):
    """What stands in a line of `ls` is found by `--text`, as it is printed or was said; words of keys are not."""
    for text in ('line "two"', "line one\nline", 'answer="line one\\nline', "AGENT.RATE", '"small"'):
        assert json.loads(memollm("ls", "--json", "--text", text).out), text
    assert json.loads(memollm("ls", "--json", "--text", "version:1").out) == []


CALLED = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": [CALLED]},
             {"role": "tool", "tool_call_id": "c1", "content": "3"}],
            [("user", "q"), ("assistant", 'add({"a": 1})'), ("tool", "3")],
        ),
        (
            [{"role": "user", "content": "q"},
             {"role": "assistant", "content": [{"type": "text", "text": "hm"},
                                               {"type": "tool_use", "id": "t", "name": "add", "input": {"a": 1}}]},
             {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "3"}]}],
            [("user", "q"), ("assistant", 'hm\nadd({"a": 1})'), ("tool", "3")],
        ),
        (
            [{"role": "user", "content": "q"}, {"type": "reasoning", "summary": []},
             {"type": "function_call", "call_id": "c", "name": "add", "arguments": "{}"},
             {"type": "function_call_output", "call_id": "c", "output": "3"}],
            [("user", "q"), ("assistant", "add({})"), ("tool", "3")],
        ),
        (
            [{"role": "user", "parts": [{"text": "q"}]},
             {"role": "model", "parts": [{"functionCall": {"name": "add", "args": {"a": 1}}}]},
             {"role": "user", "parts": [{"functionResponse": {"name": "add", "response": 3}}]}],
            [("user", "q"), ("model", 'add({"a": 1})'),
             ("tool", '{"functionResponse": {"name": "add", "response": 3}}')],
        ),
        (
            {"!tuple": [{"!model": ["x.HumanMessage", {"type": "human", "content": "q", "id": None}, {"!unset": []}]}]},
            [("user", "q")],
        ),
        ([{"role": "user", "content": "q", "name": "Bob", "t": 1.5}], [("user (Bob)", 'q\n{"t": 1.5}')]),
        ([{"role": "user"}], None),
        (["q"], None),
        ([], None),
        ("q", None),
        ([{"!set": [1]}], None),
    ],
)  # fmt: skip
def test_a_chat_is_read_message_by_message(value, said):
    """OpenAI's chats and responses, Anthropic's, Gemini's and LangChain's messages; what else is there is shown."""
    assert conversation(value) == said
