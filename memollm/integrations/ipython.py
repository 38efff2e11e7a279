"""IPython and Jupyter: each cell reads from the start in a lane of its own; `%load_ext memollm` loads it.

A block must be open in the context in which a cell's code runs, and that is a task's where the cell awaits. IPython
tells of a cell's end from around that task; `run_ast_nodes`, which runs the code of a cell, is awaited inside.
"""

from __future__ import annotations

import hashlib
import linecache
import re
import shlex
import warnings
from contextlib import ExitStack
from contextvars import ContextVar
from html import escape
from typing import TYPE_CHECKING, Any, Final, NamedTuple

try:
    from IPython.core.error import UsageError
except ImportError as error:
    raise ImportError("memollm.integrations.ipython needs IPython. Install it with: pip install ipython") from error

import memollm
from memollm import MemollmError, MemollmWarning

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST: Final = re.compile(r"\s*(?:In \[\d+\]: |>>> )?%%memollm(?!\S)(.*)\n?")
"""The line with which a cell says how it draws, also where it was copied with its prompt."""
IN_VSCODE: Final = re.compile(r"vscode-notebook-cell:.*#([A-Za-z]\d+)s")
"""How VS Code names a cell: by the notebook's address, then the cell's number, then the kind of address."""
A_NAME: Final = re.compile(r"[\w.-]{1,64}")
LOADED: Final = """\
memollm: from the next cell on, each cell draws samples of its own, and running it again replays them.
%memollm shows what was drawn, %%memollm new draws fresh ones, %memollm? tells more."""
HOW: Final = "%%memollm [new] [--namespace NAME] [--budget DOLLARS] [--mode MODE]"
OPTIONS: Final = ("namespace", "budget", "mode")

running: Final[ContextVar[CellRun | None]] = ContextVar("memollm_running_cell", default=None)


class FirstLine(NamedTuple):
    """What a cell's first line says of its draws."""

    new: bool = False
    namespace: str | None = None
    budget: str | None = None
    mode: str | None = None


class CellRun:
    """One execution of a cell, and what it has drawn, paid and saved."""

    def __init__(self, number: int | None, name: str) -> None:
        self.where = f"Cell [{'?' if number is None else number}]"
        self.name = name
        self.blocks = ExitStack()
        self.tracked = self.blocks.enter_context(memollm.track())

    def has_drawn(self) -> bool:
        """Tell whether there is anything to show."""
        return bool(self.tracked.draws or self.tracked.paid or self.tracked.failed)

    def __repr__(self) -> str:
        return f"{self.where}, lane {self.name}\n{self.tracked}"

    def _repr_html_(self) -> str:
        table = self.tracked._repr_html_()  # pyright: ignore[reportPrivateUsage] - IPython's name for what is shown
        return f"<p>{escape(self.where)}, lane <code>{escape(self.name)}</code></p>{table}"


class Notebook:
    """The cells of one shell."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._run_nodes: Callable[..., Any] = shell.run_ast_nodes
        self._last: CellRun | None = None

    def load(self) -> None:
        """Let cells draw for themselves from now on."""
        self._shell.run_ast_nodes = self._run
        self._shell.input_transformers_cleanup.append(without_magic)
        self._shell.register_magic_function(self.magic, "line_cell", "memollm")
        self._format_warning, warnings.formatwarning = warnings.formatwarning, self._warning_text
        print(LOADED)  # noqa: T201 - said once, where the user looks

    def unload(self) -> None:
        """Let cells be as they were."""
        # There was none in the instance: it was the class's.
        del self._shell.run_ast_nodes
        self._shell.input_transformers_cleanup.remove(without_magic)
        for kind in ("line", "cell"):
            self._shell.magics_manager.magics[kind].pop("memollm", None)
        if warnings.formatwarning == self._warning_text:
            warnings.formatwarning = self._format_warning

    def _warning_text(
        self, message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        """Write a warning of ours with the cell that it is about, where others show a file that nobody can open."""
        if issubclass(category, MemollmWarning):
            line = linecache.getline(filename, lineno) if line is None else line
            filename = " ".join(self._shell.compile.format_code_name(filename) or (filename,))
        return self._format_warning(message, category, filename, lineno, line)

    async def _run(self, *args: Any, result: Any = None, **options: Any) -> Any:
        """Run what a cell was compiled to, in the blocks that it is to draw in."""
        info = getattr(result, "info", None)
        # Tools of a frontend run code beside the cells, and a notebook that is run from a cell is part of that one.
        if info is None or info.silent or not info.store_history:
            return await self._run_nodes(*args, result=result, **options)
        cell = CellRun(result.execution_count, name_of(getattr(info, "cell_id", None), info.raw_cell))
        with cell.blocks as blocks:
            try:
                open_blocks(blocks, cell.name, said_in(info.raw_cell))
            except (MemollmError, UsageError) as error:
                result.error_before_exec = error
                self._shell.showtraceback()
                return True
            token = running.set(cell)
            try:
                return await self._run_nodes(*args, result=result, **options)
            finally:
                running.reset(token)
                if cell.has_drawn():
                    self._last = cell

    def magic(self, line: str, cell: str | None = None) -> object:
        """Show what the last cell drew, paid and saved; or say how a cell draws.

        %memollm                        what was drawn by the last cell that drew anything, this one included
        %%memollm new                   draw samples that no cell has drawn; what the cell has without it stays
        %%memollm --namespace NAME      draw as that namespace, which goes on at each run
        %%memollm --budget DOLLARS      spend at most so much; also calls=20, or cost=0.50,calls=20
        %%memollm --mode MODE           draw in that mode: "offline", "refresh" makes the cell's own anew, ...

        Each cell draws samples of its own, and running it again, edited or not, replays them for nothing. What names a
        namespace (a decorator, a block) draws as that, and `pool=1` is the same everywhere.
        """
        if cell is not None:
            raise UsageError("%%memollm must be the first line of its cell, above other magics.")
        if line.strip():
            raise UsageError(
                f"%memollm takes nothing: it shows what was drawn. How a cell draws is its first line: {HOW}"
            )
        here = running.get()
        shown = here if here is not None and here.has_drawn() else self._last
        if shown is None:
            print("No cell has drawn anything since the extension was loaded.")  # noqa: T201 - as magics do
        return shown


# What a cell is.


def name_of(cell_id: str | None, text: str) -> str:
    """Return the name of a cell's lane: what the frontend knows it by, or where it says nothing, what stands in it."""
    if not cell_id:
        body = FIRST.sub("", text, count=1) if FIRST.match(text) else text
        return f"text-{digest_of(body.strip())}"
    in_vscode = IN_VSCODE.match(cell_id)
    if in_vscode is not None:
        return in_vscode[1]
    return cell_id if A_NAME.fullmatch(cell_id) else f"cell-{digest_of(cell_id)}"


def digest_of(text: str) -> str:
    """Return a short name for a text."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


# How a cell draws.


def without_magic(lines: list[str]) -> list[str]:
    """Take `%%memollm ...` off a cell, whose body stays a cell: it may await, and begin with other magics."""
    if not lines or not FIRST.match(lines[0]) or running.get() is not None:
        return lines
    rest = lines[1:]
    after = "".join(rest).lstrip()
    # Other magics must begin the cell; elsewhere the lines keep their numbers.
    return after.splitlines(keepends=True) if after.startswith("%%") else ["\n", *rest]


def said_in(text: str) -> FirstLine:
    """Read the first line of a cell."""
    found = FIRST.match(text)
    if found is None:
        return FirstLine()
    try:
        words = [part for word in shlex.split(found[1]) for part in halves(word)]
    except ValueError as error:
        raise UsageError(f"%%memollm: {error}. {HOW}") from error
    said: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        option = word.removeprefix("--")
        if word == "new":
            said["new"] = True
        elif word.startswith("--") and option in OPTIONS:
            said[option] = next(rest, None)
            if said[option] is None:
                raise UsageError(f"%%memollm: {word} says nothing. {HOW}")
        else:
            raise UsageError(f"%%memollm: there is no {word!r}. {HOW}")
    return FirstLine(**said)


def halves(word: str) -> tuple[str, ...]:
    """Part `--option=value`."""
    option, equals, value = word.partition("=")
    return (option, value) if equals and word.startswith("--") else (word,)


def open_blocks(blocks: ExitStack, name: str, said: FirstLine) -> None:
    """Open the blocks that a cell draws in."""
    blocks.enter_context(memollm.cell(name, new=said.new))
    if said.namespace is not None:
        blocks.enter_context(memollm.namespace(said.namespace))
    if said.mode is not None:
        blocks.enter_context(memollm.mode(said.mode))
    if said.budget is not None:
        blocks.enter_context(memollm.budget(**limits_in(said.budget)))


def limits_in(text: str) -> dict[str, Any]:
    """Read a budget: dollars, or `calls=20`, or `cost=0.50,calls=20`."""
    limits: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, number = part.partition("=") if "=" in part else ("cost", "=", part)
        try:
            limits[name] = int(number) if name == "calls" else float(number.removeprefix("$"))
        except ValueError:
            name = ""
        if name not in {"cost", "calls"} or not equals:
            raise UsageError(
                f"%%memollm: --budget {text}: say dollars, as in 0.50, or calls=20, or cost=0.50,calls=20."
            )
    return limits


# As IPython loads it.

loaded: Final[dict[int, Notebook]] = {}
"""By shell."""


def load_ipython_extension(shell: Any) -> None:
    """Do what `%load_ext memollm` asks for."""
    if id(shell) not in loaded:
        notebook = loaded[id(shell)] = Notebook(shell)
        notebook.load()


def unload_ipython_extension(shell: Any) -> None:
    """Do what `%unload_ext memollm` asks for."""
    notebook = loaded.pop(id(shell), None)
    if notebook is not None:
        notebook.unload()
