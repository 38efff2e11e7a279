"""The pytest plugin, driven as its user would: pytest in a process of its own, over a small project."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from programs import clean_environment

import pytest_memollm

MODEL = """
    from pathlib import Path
    from memollm import cached_llm

    PROMPT = "Say"

    @cached_llm
    def ask(word):
        paid = Path(__file__).parent / "paid"
        number = len(paid.read_text()) + 1 if paid.exists() else 1
        with paid.open("a") as file:
            file.write("x")
        return f"{PROMPT} {word} {number}"
"""
TESTS = """
    import threading
    import memollm
    import pytest
    from model import ask

    pytestmark = pytest.mark.memollm

    def test_one():
        first, second = ask("a"), ask("a")
        assert first != second

    def test_two():
        assert ask("a").startswith("Say a")
        with memollm.namespace("exp"):
            assert ask("a").endswith(ask.peek("a")[0][-2:])

    def test_thread():
        got = []
        thread = threading.Thread(target=lambda: got.append(ask("b")))
        thread.start()
        thread.join()
        assert got == ask.peek("b")
"""


class Suite:
    """A project with tests, and pytest over it."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
        self.write("model.py", MODEL)
        self.write("tests/test_it.py", TESTS)
        self.recording = folder / "tests" / "recordings" / "test_it.jsonl"

    def write(self, name, text):
        lines = text.strip("\n").splitlines()
        indent = len(lines[0]) - len(lines[0].lstrip())
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_text("\n".join(line[indent:] for line in lines) + "\n", encoding="utf-8")

    def edit(self, name, before, after):
        file = self.folder / name
        text = file.read_text(encoding="utf-8")
        assert before in text
        file.write_text(text.replace(before, after), encoding="utf-8")

    def run(self, *options, code=0, **env):
        """Run pytest, and return what it says."""
        arguments = ["-q", "-W", "error", "-p", "no:cacheprovider", *options]
        # What else is installed beside pytest is not loaded.
        plugins = "pytest_memollm,xdist.plugin" if "-n" in options else "pytest_memollm"
        loaded = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": plugins}
        environment = {name: value for name, value in clean_environment().items() if name != "CI"} | loaded
        result = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=self.folder,
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1", **env},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout

    @property
    def paid(self):
        paid = self.folder / "paid"
        return len(paid.read_text()) if paid.exists() else 0


@pytest.fixture
def suite(tmp_path):
    folder = tmp_path / "suite"
    folder.mkdir()
    return Suite(folder)


def samples(file):
    return [line for line in map(json.loads, file.read_text().splitlines()) if line["is"] == "sample"]


def test_what_is_recorded_is_given_again(suite):
    """Tests are paid for once, each reads from the start, and a rerun changes no byte; offline needs no model."""
    assert "3 answers recorded" in suite.run()
    recorded = suite.recording.read_bytes()
    assert suite.paid == 3 == len(samples(suite.recording))
    assert "recorded" not in suite.run()
    suite.run("--memollm=offline", "tests/test_it.py::test_two")
    suite.run(CI="true")
    assert (suite.paid, suite.recording.read_bytes()) == (3, recorded)
    assert not (suite.folder / ".memollm").exists()


def test_several_processes_record_together(suite):
    """With pytest-xdist one file is written, by the main process, and read by all."""
    suite.run("-n", "2")
    assert 3 <= suite.paid <= 5
    recorded = suite.recording.read_bytes()
    suite.run("-n", "2", CI="1")
    suite.run()
    assert suite.recording.read_bytes() == recorded


def test_a_changed_prompt_fails_with_what_to_do(suite):
    """Offline, the failure says what differs and which command records it; it shows no line of the library."""
    suite.run()
    suite.edit("model.py", 'PROMPT = "Say"', 'PROMPT = "Tell"')
    said = suite.run("--memollm=offline", "-W", "ignore", "tests/test_it.py::test_one", code=1)
    assert "pytest --memollm=auto tests/test_it.py::test_one" in said
    assert 'constant model.PROMPT: "Say" -> "Tell"' in said
    assert "memollm/_" not in said
    assert suite.run("--memollm=offline", "-W", "ignore", "-o", "memollm_on_change=ignore")


@pytest.mark.deep
def test_refresh_records_once_a_session(suite):
    """Each sample is made anew once, whoever draws it; what no test drew stays as it is."""
    suite.run()
    before = suite.recording.read_text()
    assert "2 answers recorded" in suite.run("--memollm=refresh", "-k", "one or two")
    assert suite.paid == 5
    after = suite.recording.read_text()
    assert [line for line in before.splitlines() if "Say b" in line] == [
        line for line in after.splitlines() if "Say b" in line
    ]
    assert "Say a 4" in after
    assert "Say a 1" not in after
    suite.run(CI="1")


@pytest.mark.deep
def test_answers_that_no_test_was_given(suite):
    """They are listed after a whole run, and removed when that is asked for."""
    suite.run()
    suite.edit("tests/test_it.py", 'ask("b")', 'ask("a")')
    suite.edit("tests/test_it.py", 'ask.peek("b")', 'ask.peek("a")[:1]')
    assert "no test was given slot 0 of" in suite.run("--memollm-unused=list")
    assert "after a whole run" in suite.run("--memollm-unused=prune", "-k", "one")
    assert len(samples(suite.recording)) == 3
    assert "1 answers removed" in suite.run("--memollm-unused=prune")
    assert len(samples(suite.recording)) == 2
    suite.run(CI="1")


@pytest.mark.deep
def test_an_edited_answer_is_given(suite):
    """Who edits an answer gets it; a line that is none fails each test with its place."""
    suite.run()
    suite.edit("tests/recordings/test_it.jsonl", '"Say b 3"', '"Say b, by hand"')
    suite.edit("tests/test_it.py", 'assert got == ask.peek("b")', 'assert got == ["Say b, by hand"]')
    suite.run(CI="1")
    suite.edit("tests/recordings/test_it.jsonl", '"Say b, by hand"', '"Say b')
    assert "test_it.jsonl, line " in suite.run(code=1)


def test_models_need_trust_and_pickles_are_left_out(suite):
    """A recording that names a class is read where pytest's settings trust it, and is refused where they do not."""
    suite.write("model.py", MODEL.replace("return f", "return Answer(f").replace('{number}"', '{number}")'))
    suite.edit("model.py", "from memollm import cached_llm", "import pydantic\nfrom memollm import cached_llm")
    suite.edit("model.py", "@cached_llm", "class Answer(pydantic.BaseModel):\n    text: str\n\n@cached_llm")
    suite.edit("model.py", 'Answer(f"', 'Answer(text=f"')
    suite.write(
        "tests/test_it.py",
        """
        from model import Answer, ask

        def test_model(memollm_cache):
            assert isinstance(ask("a"), Answer)
            assert len(memollm_cache.inventory()) if hasattr(memollm_cache, "inventory") else True
        """,
    )
    suite.run()
    assert "model:Answer" in suite.recording.read_text()
    assert "nothing here says to trust" in suite.run(CI="1", code=1)
    suite.run("-o", "memollm_trust=model.*", CI="1")
    assert suite.paid == 1


def test_who_does_not_use_it_pays_nothing(suite):
    """Where no test is recorded, pytest imports nothing of memollm but the list of options."""
    suite.write(
        "tests/test_it.py",
        """
        import sys

        def test_it():
            assert not [name for name in sys.modules if name == "memollm" or name.startswith("memollm.")]
            assert "pytest_memollm.recorder" not in sys.modules
        """,
    )
    suite.run()
    suite.run("--memollm=off")


def test_pytest_finds_it_by_its_entry_point():
    """Who installs memollm has the plugin."""
    (found,) = [each for each in entry_points(group="pytest11") if each.name == "memollm"]
    assert found.load() is pytest_memollm
