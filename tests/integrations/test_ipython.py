"""IPython: cells draw different samples, running one again replays its own, and its first line says otherwise."""

from __future__ import annotations

import asyncio
import builtins
import itertools
import os
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager

import pytest

pytest.importorskip("IPython")
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import memollm
from memollm import Cache
from memollm.integrations.ipython import FIRST, name_of

INSTALLED = dict.fromkeys(("__IPYTHON__", "display"), builtins) | dict.fromkeys(
    ("excepthook", "displayhook", "ps1", "ps2", "ps3", "last_type", "last_value", "last_traceback"), sys
)
DEFINED = """
@cache.cached_llm(name="ask", version=1)
def ask(prompt):
    paid.append(prompt)
    return f"{prompt} {len(paid)}"

@cache.cached_llm(name="ask", version=1)
async def ask_later(prompt):
    await asyncio.sleep(0)
    return ask.__wrapped__(prompt)
"""


class Kernel:
    """A shell as a kernel has it, over a cache that outlives it."""

    def __init__(self, cache, paid):
        config = Config()
        config.HistoryManager.enabled = False
        self.shell = InteractiveShell(config=config, loop_runner=asyncio.run, colors="nocolor")
        self.shell.push({"cache": cache, "paid": paid, "asyncio": asyncio, "memollm": memollm, "threading": threading})
        self.shell.extension_manager.load_extension("memollm")
        self.run("defined", DEFINED)

    def execute(self, cell, text, **options):
        return self.shell.run_cell(text, **{"store_history": True, "cell_id": cell, **options})

    def run(self, cell, text, **options):
        """Execute a cell and return its value."""
        result = self.execute(cell, text, **options)
        result.raise_error()
        return result.result


@contextmanager
def unchanged():
    """Take back what a shell installs for the program that it usually is."""
    before = {name: vars(module).get(name, ...) for name, module in INSTALLED.items()}
    yield
    for name, value in before.items():
        if value is ...:
            vars(INSTALLED[name]).pop(name, None)
        else:
            setattr(INSTALLED[name], name, value)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start kernels, one after another or side by side, on one cache."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    paid = []
    with unchanged(), Cache(tmp_path / "cache") as cache:
        yield lambda: Kernel(cache, paid)


@pytest.fixture
def kernel(start):
    return start()


def test_a_cell_that_runs_again_replays_its_own(kernel):
    """Cells draw different samples; a cell that is run again, edited or not, is given what it had."""
    first = kernel.run("a", "ask.draw(2, 'x')")
    other = kernel.run("b", "ask('x')")
    assert other not in first
    assert kernel.run("a", "ask.draw(2, 'x')") == first
    longer = kernel.run("a", "# edited\n[ask('x') for _ in range(3)]")
    assert longer[:2] == first
    assert other not in longer
    assert len(kernel.run("paid", "paid")) == 4


def test_a_kernel_that_starts_anew_replays_every_cell(start):
    """After a restart each cell is given its own, whichever is run first."""
    texts = {"a": "ask.draw(2, 'x')", "b": "ask('x')", "c": "ask('y')"}
    kernel = start()
    drawn = {cell: kernel.run(cell, text) for cell, text in texts.items()}
    again = start()
    assert {cell: again.run(cell, texts[cell]) for cell in reversed(texts)} == drawn


def test_a_map_shows_below_its_cell_how_far_it_has_come(kernel, monkeypatch):
    """In a kernel one output is written anew until all is done; progress=False shows nothing."""
    kernel.shell.kernel, kernel.shell.display_pub = object(), CapturingDisplayPublisher()
    monkeypatch.setattr(InteractiveShell, "_instance", kernel.shell)
    monkeypatch.setattr("memollm._drive.progress.TICK", 0)
    shown = kernel.shell.display_pub.outputs
    kernel.run("a", "ask.map(['x', 'y'], progress=False)")
    assert shown == []
    kernel.run("b", "ask.map(['x', 'y'])")
    assert [output["update"] for output in shown] == [False, True, True]
    assert len({output["transient"]["display_id"] for output in shown}) == 1
    assert "2 of 2 done" in shown[-1]["data"]["text/plain"]
    assert '<progress max="2" value="2">' in shown[-1]["data"]["text/html"]


EDITED = "@cache.cached_llm(name='edited')\ndef edited(x): return x + {!r}"


def test_a_warning_names_its_cell(kernel):
    """A warning about changed code says which cell drew, and what changed since that function was run last."""
    for number in range(3):
        kernel.run("defined", EDITED.format("!" * number))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            kernel.run("asks", "'a line above'\nedited('x')")
        said = [warnings.formatwarning(each.message, each.category, each.filename, each.lineno) for each in told]
        if number:
            where = kernel.shell.execution_count - 1
            assert said[0].startswith(f"Cell In[{where}]:2: CodeChangedWarning: ")
            assert f'- return (x + "{"!" * (number - 1)}")' in " ".join(said[0].split())
            assert said[0].endswith("edited('x')\n")
    kernel.run("unload", "%unload_ext memollm")
    assert warnings.formatwarning.__module__ == "warnings"


def test_two_kernels_share_what_is_stored(start):
    """Two kernels on one cache give a cell the same samples, and pay once."""
    one, other = start(), start()
    assert one.run("a", "ask('x')") == other.run("a", "ask('x')")
    assert other.run("b", "ask('x')") == one.run("b", "ask('x')")
    assert len(one.run("paid", "paid")) == 2


def test_a_cell_that_awaits_is_a_cell(kernel):
    """What is awaited at the top, and tasks that are started there, draw in the cell."""
    text = "[await ask_later('x'), *await asyncio.gather(ask_later('x'), ask_later('x'))]"
    first = kernel.run("a", text)
    assert kernel.run("b", "ask('x')") not in first
    assert sorted(kernel.run("a", text)) == sorted(first)


def test_a_cell_that_fails_closes_its_blocks(kernel):
    """An error ends the cell's blocks, and the cell is read from the start when it is run again."""
    assert kernel.execute("a", "first = ask('x'); raise ValueError('x')").error_in_exec is not None
    assert kernel.run("a", "ask('x') == first") is True
    assert kernel.execute("a", "%%memollm --mode offline\nask('nothing')").error_in_exec is not None
    assert kernel.run("a", "ask('nothing')") == "nothing 2"


def test_a_cell_that_was_interrupted_pays_for_the_rest(kernel):
    """What was answered before an interrupt is given again."""
    interrupted = "got = []\nfor turn in range(3):\n    got.append(ask('x'))\n    if turn == 1: raise KeyboardInterrupt"
    assert isinstance(kernel.execute("a", interrupted).error_in_exec, KeyboardInterrupt)
    assert kernel.run("a", "ask.draw(3, 'x')[:2] == got") is True
    assert len(kernel.run("paid", "paid")) == 3


def test_new_draws_what_no_cell_has_drawn(start):
    """`%%memollm new` gives others each time, also in a later kernel; without it the cell has its own again."""
    kernel = start()
    own = kernel.run("a", "ask('x')")
    new = [kernel.run("a", "%%memollm new\nask('x')") for _ in range(2)]
    new.append(start().run("a", "%%memollm new\nask('x')"))
    assert len({own, *new}) == 4
    assert start().run("a", "ask('x')") == own


def test_refresh_makes_the_cells_own_anew(kernel):
    """`--mode refresh` replaces what the cell had, and other cells keep theirs."""
    own, other = kernel.run("a", "ask('x')"), kernel.run("b", "ask('x')")
    anew = kernel.run("a", "%%memollm --mode refresh\nask('x')")
    assert kernel.run("a", "ask('x')") == anew not in {own, other}
    assert kernel.run("b", "ask('x')") == other


def test_a_namespace_for_a_cell_goes_on(kernel):
    """`--namespace` draws as that one, at each run, and a replay in another cell gives what it drew."""
    drawn = [kernel.run("a", "%%memollm --namespace=exp\nask('x')") for _ in range(2)]
    assert len({*drawn}) == 2
    assert kernel.run("b", "with memollm.replay('exp'): got = ask.draw(2, 'x')\ngot") == drawn


def test_a_budget_for_a_cell_is_counted_at_each_run(kernel):
    """`--budget` limits the calls of one execution; what is stored is free."""
    text = "%%memollm --budget calls=2\n[ask(str(n)) for n in range(3)]"
    assert isinstance(kernel.execute("a", text).error_in_exec, memollm.BudgetExceeded)
    assert kernel.run("a", text) == ["0 1", "1 2", "2 3"]


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("fresh", "there is no 'fresh'"),
        ("--lane x", "there is no '--lane'"),
        ("--mode", "--mode says nothing"),
        ("--mode offlin", "offline"),
        ("--namespace ''", "namespace"),
        ("--budget lots", "--budget lots: say dollars"),
        ("--budget time=3", "--budget time=3: say dollars"),
        ("--namespace 'x", "No closing quotation"),
    ],
)
def test_a_first_line_that_says_nothing_runs_nothing(kernel, line, match, capsys):
    """A mistake is an error that says what can be said, before anything has run; then the shell goes on."""
    result = kernel.execute("a", f"%%memollm {line}\nran = True")
    assert match in str(result.error_before_exec)
    assert match in "".join(capsys.readouterr())
    assert kernel.run("a", "'ran' in globals()") is False


def test_other_magics_stand_below(kernel, capsys):
    """`%%memollm` comes first and another cell magic may follow; the other way round is an error that says so."""
    kernel.run("a", "%%memollm --namespace exp\n\n%%time\nfirst = ask('x')")
    assert kernel.run("b", "with memollm.replay('exp'): again = ask('x')\nagain == first") is True
    kernel.execute("a", "%%time\n%%memollm new\nask('x')")
    assert "must be the first line" in "".join(capsys.readouterr())


def test_lines_keep_their_numbers(kernel):
    """A traceback's line is the cell's own."""
    error = kernel.execute("a", "%%memollm new\n\n1 / 0").error_in_exec
    traceback = error.__traceback__
    while traceback.tb_next:
        traceback = traceback.tb_next
    assert traceback.tb_lineno == 3


def test_the_magic_shows_what_the_last_cell_drew(kernel, capsys):
    """`%memollm` is about the last cell that drew anything, the running one included."""
    assert kernel.run("look", "%memollm") is None
    assert "No cell has drawn anything" in capsys.readouterr().out
    kernel.run("a", "ask('x')")
    kernel.run("a", "ask.draw(2, 'x')")
    kernel.run("b", "1 + 1")
    shown = kernel.run("look", "%memollm")
    assert repr(shown).startswith("Cell [4], lane a\n")
    assert (shown.tracked.hits, shown.tracked.paid) == (1, 1)
    assert "lane <code>a</code>" in shown._repr_html_()
    assert repr(kernel.run("c", "ask('y')\n%memollm")).startswith("Cell [7], lane c\n")
    assert kernel.execute("look", "%memollm new").error_in_exec is not None


def test_what_tools_run_is_no_cell(kernel):
    """Code that a frontend runs beside the cells draws as the program does: it takes nothing from them."""
    first = kernel.run("a", "ask('x')")
    beside = [kernel.run("a", "ask('x')", **options) for options in ({"store_history": False}, {"silent": True})]
    assert len({first, *beside} - {None}) == 2
    assert kernel.run("a", "ask('x')") == first


def test_without_an_id_a_cell_is_its_text(kernel):
    """In a terminal the same text is the same cell, whatever its first line says of drawing."""
    first = kernel.run(None, "ask('x')")
    assert kernel.run(None, "ask('x')\n") == first
    assert kernel.run(None, "ask('x')  # another") != first
    assert kernel.run(None, "%%memollm --mode offline\nask('x')") == first


def test_a_thread_of_a_cell_is_told_to_carry_it(kernel):
    """A carried function draws in the cell; a bare thread is outside, with a warning that names the cell."""
    carried = "thread = threading.Thread(target=memollm.carry(lambda: got.append(ask('x'))))"
    text = f"got = []\n{carried}\nthread.start()\nthread.join()\ngot"
    first = kernel.run("a", text)
    assert kernel.run("a", text) == first


def test_unloading_leaves_cells_as_they_were(kernel):
    """Without the extension a kernel is one run, whose draws never repeat; loading it again is loading it."""
    manager = kernel.shell.extension_manager
    first = kernel.run("a", "ask('x')")
    manager.unload_extension("memollm")
    assert kernel.run("a", "ask('x')") != kernel.run("a", "ask('x')")
    assert "memollm" not in kernel.shell.magics_manager.magics["cell"]
    manager.load_extension("memollm")
    assert kernel.run("a", "ask('x')") == first


def test_loading_says_so_once(start, capsys):
    """What changes is said when the extension is loaded, and not again."""
    kernel = start()
    assert "running it again replays" in capsys.readouterr().out
    kernel.shell.extension_manager.load_extension("memollm")
    memollm.load_ipython_extension(kernel.shell)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("cell_id", "name"),
    [
        ("3f2a9c1b", "3f2a9c1b"),
        ("vscode-notebook-cell:/home/me/a.ipynb#W2sZmlsZQ%3D%3D", "W2"),
        ("vscode-notebook-cell://ssh-remote%2Bhost/a%23b.ipynb#X10sdnNjb2RlLXJlbW90ZQ%3D%3D", "X10"),
        ("a/b", "cell-0debd2558bca8fa0"),
    ],
)
def test_the_name_of_a_cell(cell_id, name):
    """A lane's name is what the frontend knows a cell by, without what it cannot hold."""
    assert name_of(cell_id, "") == name
    with memollm.cell(name_of(cell_id, "")):
        pass


def test_what_is_the_first_line():
    """Other magics that begin alike are left alone."""
    assert FIRST.match("%%memollm")
    assert FIRST.match("  %%memollm new\nx")[1] == " new"
    assert not FIRST.match("%%memollms\n")
    assert not FIRST.match("%memollm\n")


def test_the_import_knows_nothing_of_ipython():
    """`import memollm` imports neither IPython nor what extends it."""
    code = "import memollm, sys; print([name for name in sys.modules if 'ipython' in name.lower()])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


LAB = """
class Tidy:
    style = {style!r}
    def go(self, q):
        '''Say it.

        At length.'''
        return self.style + {said!r} + q
"""


@pytest.mark.filterwarnings("ignore::memollm.CodeChangedWarning")
def test_what_autoreload_edits_is_another_version_and_comes_back(start, tmp_path, monkeypatch):
    """P8: after `%autoreload 2` edited a method or an attribute, a draw is of the new code; undone, it is a hit."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file, kernel, times = tmp_path / "reloaded_lab.py", start(), itertools.count(4_000_000_000, 10)

    def edit(**options):
        file.write_text(LAB.format(**{"style": "a", "said": "", **options}))
        os.utime(file, (now := next(times), now))

    edit()
    kernel.run("load", "%load_ext autoreload\n%autoreload 2\nfrom reloaded_lab import Tidy\ntidy = Tidy()")
    kernel.run("ask", "@cache.cached_llm(pool=1)\ndef tell(q):\n    paid.append(q)\n    return tidy.go(q)")
    told = [("aq", 1), ("axq", 2), ("aq", 2), ("bq", 3), ("bq", 3), ("aq", 3)]
    for options, seen in zip([{}, {"said": "x"}, {}, {"style": "b"}, {"style": "b"}, {}], told, strict=True):
        edit(**options)
        assert kernel.run("tell", "tell('q'), len(paid)") == seen
    kernel.run("off", "%autoreload 0")
    del sys.modules["reloaded_lab"]
