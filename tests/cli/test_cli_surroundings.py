"""The command line in its surroundings: pipes, terminals, shells, and installations that lack something."""

from __future__ import annotations

import errno
import json
import os
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from filling import fill

from memollm import Cache
from memollm._types.counting import Account, Counts
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking

DEADLINE = 60


@pytest.fixture
def counted(project):
    """Make a cache in which draws were counted."""
    with Cache(project / "counted.db") as cache:
        fill(cache, 8, samples=3)
        keeping(cache.store).count(
            cache.store.flights.new_id(),
            {
                Account("2026-11-20", "r1", "baseline", "study.ask0"): Counts(
                    draws=10,
                    hits=7,
                    made=3,
                    paid=3,
                    failed=1,
                    timed=7,
                    timed_seconds=7e-5,
                    spent_seconds=90.0,
                    spent_cost=0.3,
                ),
                Account("2026-11-21", "r2", "", "study.ask1"): Counts(
                    draws=10, hits=10, saved_seconds=7200.0, saved_input=1000, saved_output=50, saved_cost=1.25
                ),
            },
            [],
        )
    return project / "counted.db"


@pytest.mark.skipif(os.name != "posix", reason="a POSIX shell closes the streams")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_nobody_listens(project, stocked, closed):
    """With its output or its errors closed a command does its work and fails in no way of its own."""
    command = f"{shlex.quote(sys.executable)} -m memollm ls --limit 1 {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done


def test_stats_sums_up(memollm, counted):
    """What is stored, paid and saved, in a few lines."""
    ran = memollm("stats", "--cache", counted)
    assert ran.lines == [
        f"stored  24 samples of 8 calls of 7 functions, {ran.lines[0].rpartition(', ')[2]}",
        "drawn   20 samples: 17 hits (85 %), 0 shared, 3 made",
        "paid    3 calls, 1 failed",
        "spent   90 s, $0.30",
        "saved   2.0 h, tokens 1,000 in, 50 out, $1.25",
        "hits    10.0 µs each, of 7 timed",
    ]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("function", ["study.ask0", "study.ask1"]),
        ("namespace", ["(no", "baseline"]),
        ("run", ["r1", "r2"]),
        ("day", ["2026-11-20", "2026-11-21"]),
    ],
)
def test_stats_by(memollm, counted, by, names):
    """Each function, namespace, run or day has a line."""
    ran = memollm("stats", "--by", by, "--cache", counted)
    assert [line.split()[0] for line in ran.lines[3:]] == names
    assert max(map(len, ran.lines)) <= 80


def test_stats_as_json(memollm, counted):
    """The JSON has every figure under its name."""
    told = json.loads(memollm("stats", "--by", "function", "--json", "--cache", counted).out)
    assert told["stored"].keys() == {"functions", "calls", "samples", "bytes"}
    assert told["counted"]["draws"] == 20
    assert [(group["function"], group["saved_cost"]) for group in told["groups"]] == [
        ("study.ask0", 0.0),
        ("study.ask1", 1.25),
    ]


def test_stats_of_a_cache_that_counted_nothing(memollm, stocked):
    """No count is no error."""
    assert memollm("stats").lines[0].startswith("stored  8 samples of 6 calls of 4 functions, ")


def test_show_of_what_samples_cost(memollm, counted):
    """Time, tokens and cost stand beside each sample, and their sums above."""
    with Cache(counted) as cache:
        key = looking(cache.store).survey()[0].call.key.hex()
    shown = memollm("show", key[:12], "--cache", counted)
    assert "3 samples, " in shown.out
    assert ", 6.00 s, tokens 30 in, 9 out, $0.75" in shown.out
    assert sum("2.00 s  $0.25  answer" in line for line in shown.lines) == 3


def test_cache_is_named_before_or_after_the_command(memollm, counted):
    """--cache may stand on either side."""
    assert memollm("--cache", counted, "ls").out == memollm("ls", "--cache", counted).out


def test_a_reader_that_has_had_enough(project):
    """A pipe that is closed in the middle ends the command quietly."""
    with Cache(project / ".memollm") as cache:
        fill(cache, 1000, prompt="Question {} " + "and more " * 50)
    command = [sys.executable, "-m", "memollm", "ls", "--full"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b"KEY")
        process.stdout.close()
        assert (process.stderr.read(), process.wait(DEADLINE)) == (b"", 0)


def on_terminal(project, columns, *arguments):
    """Run a command on a terminal, and return what it wrote there."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "memollm", *arguments],
        cwd=project,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color", "NO_COLOR": ""},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    try:
        while piece := os.read(ours, 1 << 16):
            written += piece
    except OSError as error:
        # Linux's way to say that the other side is closed.
        if error.errno != errno.EIO:
            raise
    os.close(ours)
    assert process.wait(DEADLINE) == 0, written
    return written.decode()


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
@pytest.mark.parametrize("columns", [60, 100])
def test_on_a_terminal_rich_draws(project, stocked, columns):
    """On a terminal a table has a bold head and takes the terminal's width."""
    import re

    written = on_terminal(project, columns, "ls")
    assert "\x1b[1m" in written
    lines = re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()
    assert len(lines) == 1 + 6
    assert columns - 20 < max(map(len, lines)) <= columns


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
def test_progress_on_a_terminal(project, stocked, key):
    """Long work shows a bar where somebody looks, and leaves the terminal as it was."""
    written = on_terminal(project, 80, "forget", key("17 x 23"), "--yes")
    assert "3 samples forgotten." in written
    assert "Giving the space back" in written


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
def test_a_stored_text_cannot_steer_the_terminal(project):
    """What is not printable is written as an escape, and markup of rich is no markup here (P10)."""
    hostile = "[bold]x[/] \x1b[2J \x9b2J \u202e \x07 {}"
    with Cache(project / ".memollm") as cache:
        (call,) = fill(cache, 1, prompt=hostile, answer=hostile)
    written = on_terminal(project, 200, "ls") + on_terminal(project, 200, "show", call.key.hex())
    written += on_terminal(project, 200, "show", call.key.hex(), "--full")
    assert written.count("[bold]x[/]") == 5
    assert [text for text in ("\x1b[2J", "\x9b", "\u202e", "\x07") if text in written] == []


def test_an_encoding_that_lacks_a_character(project, stocked):
    """What the output's encoding cannot take is written as an escape."""
    command = [sys.executable, "-m", "memollm", "ls"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    assert b"\\u2026" in subprocess.check_output(command, cwd=project, env=environment, timeout=DEADLINE)


def test_demo(memollm):
    """The demo draws, and repeats nothing."""
    ran = memollm("demo")
    assert (ran.code, ran.err) == (0, "")
    assert "samples repeated within baseline: 0" in ran.out


def test_doctor_of_a_cache(memollm, stocked, project):
    """It names place, file, permissions, locks, key and each option with where it comes from; nothing is changed."""
    (project / "pyproject.toml").write_text("[tool.memollm]\nkeep_arguments = true", encoding="utf-8")
    before = sorted(stocked.rglob("*"))
    found = {each["about"]: each for each in json.loads(memollm("doctor", "--json", MEMOLLM_NAMESPACE="e").out)}
    assert {each["state"] for each in found.values()} <= {"ok", "note"}
    assert found["cache"]["text"] == f"{stocked} (the project's default)"
    assert found["schema"]["text"].startswith("version ")
    assert found["write lock"]["text"] == "free"
    assert found["filling slots"]["text"] == "0 live processes"
    assert found["option namespace"]["text"] == "e (by MEMOLLM_NAMESPACE)"
    assert found["option keep_arguments"]["text"] == f"True (by [tool.memollm] in {project / 'pyproject.toml'})"
    assert found["option pickle"]["text"] == "not set"
    assert found["signing key"]["text"].endswith("signing.key")
    assert found.keys() >= {"memollm", "SQLite", "filesystem", "free space", "file", "permissions"}
    assert sorted(stocked.rglob("*")) == before


def test_doctor_without_a_cache(memollm, project, tmp_path):
    """There need be no cache to ask about its place, and none is made."""
    ran = memollm("doctor")
    assert ran.code == 0
    assert "is not there yet; the first draw makes it" in ran.out.replace("\n    ", " ")
    assert max(len(line) for line in ran.lines if str(tmp_path) not in line) <= 80
    assert not (project / ".memollm").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_doctor_finds_what_others_can_read(memollm, stocked):
    """A file that others can reach is wrong, which is exit code 1."""
    (stocked / "memollm.db").chmod(0o644)
    ran = memollm("doctor")
    assert ran.code == 1
    assert f"! permissions: other users can reach {stocked / 'memollm.db'}; `chmod 600` it" in ran.out.replace(
        "\n    ", " "
    )
    assert ran.lines[-1] == "1 wrong."


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_doctor_finds_a_folder_that_others_can_write(memollm, stocked):
    """A folder in which anybody can put files is wrong, and so is one of another user."""
    stocked.chmod(0o777)
    ran = memollm("doctor")
    assert ran.code == 1
    assert f"! folder: anybody can write to {stocked}, and change what is stored; `chmod 700` it" in ran.out.replace(
        "\n    ", " "
    )
    if os.geteuid() == 0:
        stocked.chmod(0o700)
        os.chown(stocked, 65534, 65534)
        assert "belongs to another user" in memollm("doctor").out.replace("\n    ", " ")


def test_doctor_shows_what_is_not_ours(memollm, stocked):
    """What somebody has planted in the schema is shown as it was written, and can steer no terminal."""
    with closing(sqlite3.connect(stocked / "memollm.db")) as connection, connection:
        connection.execute('CREATE TRIGGER "\x1b[2J" AFTER INSERT ON sample BEGIN DELETE FROM sample; END')
    ran = memollm("doctor")
    text = ran.out.replace("\n    ", " ")
    assert ran.code == 1
    assert "! schema: memollm did not make trigger \\x1b[2J on sample: CREATE TRIGGER" in text
    assert "DELETE FROM sample; END" in text
    assert "`memollm verify --repair` saves the samples" in text
    assert "did not make" in memollm("ls").err
    assert memollm("verify", "--repair").code == 0
    assert memollm("doctor").code == 0


def test_doctor_finds_damaged_notes(memollm, stocked):
    """A document of the catalog that cannot be read is wrong."""
    with closing(sqlite3.connect(stocked / "memollm.db")) as connection, connection:
        connection.execute("UPDATE catalog_function SET value = '{}'")
    ran = memollm("doctor")
    assert ran.code == 1
    assert "! catalog: What the cache notes about" in ran.out


def test_doctor_of_a_foreign_file(memollm, project):
    """A file that is no cache is found to be that, and nothing is advised to be done to it."""
    (project / "notes.db").write_text("These are notes. " * 9, encoding="utf-8")
    (project / "notes.db").chmod(0o644)
    ran = memollm("doctor", "--cache", "notes.db")
    assert ran.code == 1
    assert "is not a memollm cache" in ran.out.replace("\n    ", " ")
    assert "chmod" not in ran.out


HOLDER = """
import sys
from contextlib import closing
from pathlib import Path
from memollm._types.calls import Call, Want
from memollm._types.requests import Take
from memollm.stores.sqlite.store import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
ticket = store.flights.depart()
store.perform([Take(ticket, [Want(Call(b"k" * 16, "{}", "f"), "run:r", 1, None)])])
print("ready", flush=True)
sys.stdin.read()
"""


def test_doctor_sees_who_fills_slots(memollm, stocked, project):
    """A live process that has claimed slots is counted, and named where the kernel tells."""
    command = [sys.executable, "-c", HOLDER, str(stocked)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        found = {each["about"]: each["text"] for each in json.loads(memollm("doctor", "--json").out)}
        process.stdin.close()
        assert process.wait(DEADLINE) == 0
    assert found["filling slots"].startswith("1 live process;")
    if sys.platform == "linux":
        assert found["filling slots"].endswith(f" by process {process.pid}")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("memollm re", {"report", "rewind"}),
        ("memollm rewind ", {"ablation", "baseline"}),
        ("memollm adopt study.e", {"study.embed"}),
        ("memollm ls --function study.a", {"study.ask"}),
        ("memollm --cache .memollm functions study.j", {"study.judge"}),
        ("memollm drop --cache nowhere b", set()),
        ("memollm stats --by f", {"function"}),
    ],
)
def test_a_shell_completes(memollm, stocked, words, completed):
    """Commands, options' values, and names out of the cache are completed; where there is none, nothing is said."""
    count = str(len(words.split(" ")) - 1)
    ran = memollm(_MEMOLLM_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count)
    assert (ran.code, ran.err) == (0, "")
    assert {line.partition(",")[2] for line in ran.lines if line} == completed


def test_a_shell_completes_keys(memollm, key):
    """A key is completed once it is begun; nothing typed completes none of very many."""
    whole = key("17 x 23")
    environment = {"_MEMOLLM_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    assert memollm(**environment, COMP_WORDS=f"memollm show {whole[:9]}").out == f"plain,{whole}\n"
    assert memollm(**environment, COMP_WORDS="memollm show ").out.strip() == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_written_for_each_shell(memollm, shell):
    """What a shell has to run names the command and the variable."""
    ran = memollm("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert f"_MEMOLLM_COMPLETE={shell}_complete" in ran.out


def test_without_click_it_says_what_to_install(project):
    """Without the extra, one line names it, and the exit code is 2."""
    program = (
        "import sys; sys.modules['click'] = None\n"
        "import importlib.util as u; find = u.find_spec; u.find_spec = lambda n: None if n == 'click' else find(n)\n"
        "sys.argv = ['memollm', 'ls']\n"
        "from memollm.__main__ import main; main()"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "error: the command line needs click. Install it with: pip install 'memollm[cli]'\n"


def test_the_package_does_not_load_the_command_line():
    """`import memollm` pays for no command, and `memollm --help` for none either."""
    program = "import sys, memollm; print([m for m in sys.modules if m.startswith(('memollm.cli', 'click', 'rich'))])"
    assert subprocess.check_output([sys.executable, "-c", program], timeout=DEADLINE) == b"[]\n"
    program = (
        "import sys; from memollm.cli._running import run; run(['--help'])\n"
        "print([m for m in sys.modules if m.startswith(('memollm.cli.', 'rich')) and '._' not in m])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], timeout=DEADLINE).endswith(b"\n[]\n")


@pytest.mark.deep
def test_a_large_cache_is_listed(memollm, project):
    """With 100,000 samples the listings are whole (how long they take is measured by the benchmark `cli`)."""
    with Cache(project / ".memollm") as cache:
        for _ in range(10):
            fill(cache, 1000, samples=100)
    assert memollm("stats").lines[0].startswith("stored  100,000 samples of 1,000 calls of 7 functions, ")
    assert len(json.loads(memollm("ls", "--json").out)) == 1000
