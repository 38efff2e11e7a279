"""Runs a page of the documents as its reader would, and compares what comes out with what the page shows.

A page is read from top to bottom, in one empty folder, which is a project only if the page makes it one:

- ```` ```python title="study.py" ```` writes that file.
- ```` ```console ```` types each line that begins with `$ `; what follows the line is its output. What is typed
  elsewhere (`pip install`, on another machine) stands in blocks marked `sh`.
- ```` ```python ```` that begins with an import is a program; blocks that begin otherwise go on in it. A block
  marked `text` right behind one is what it prints.
- `<!-- python … -->`, also with a title, is a part that the reader does not see, such as a stand-in for a client. The
  next block goes on in it, whatever it begins with.

In what is shown, `…` stands for anything in its line, and a line of it alone for any number of lines. Each program
throws the same dice in every test, another set than the one before it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?[^\n]*\n(?P<text>.*?)^(?P=indent)```$"
    r"|^<!-- python(?: title=\"(?P<file>[^\"]+)\")?\n(?P<hidden>.*?)^-->$",
    flags=re.DOTALL | re.MULTILINE,
)
MARK = "\x1fblock\x1f"


@dataclass
class Block:
    """A fenced block of a page."""

    language: str
    title: str | None
    text: str
    line: int
    is_hidden: bool = False
    output: str | None = None


@dataclass
class Program:
    """Blocks of Python that run as one."""

    blocks: list[Block] = field(default_factory=list)


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the blocks of a page, each with the output that it shows."""
    last, end = None, 0
    for match in FENCE.finditer(page):
        indent = match["indent"] or ""
        text = match["hidden"] or re.sub(rf"^{indent}", "", match["text"], flags=re.MULTILINE)
        block = Block(
            "python" if match["hidden"] else match["language"],
            match["title"] or match["file"],
            text,
            page.count("\n", 0, match.start()) + 1,
            bool(match["hidden"]),
        )
        if block.language == "text" and last and last.language == "python" and not page[end : match.start()].strip():
            last.output = text
        else:
            if last:
                yield last
            last = block
        end = match.end()
    if last:
        yield last


def steps_of(page: str) -> Iterator[Program | Block]:
    """Yield what a reader does, in order: programs to run, files to write, commands to type."""
    program = None
    for block in blocks_of(page):
        if block.language == "python" and not block.title:
            follows_hidden = program and program.blocks[-1].is_hidden
            if program is None or (re.match(r"(?:import|from) ", block.text) and not follows_hidden):
                if program:
                    yield program
                program = Program()
            program.blocks.append(block)
        elif block.title or block.language == "console":
            if program:
                yield program
            program = None
            yield block
    if program:
        yield program


def follow(path: Path, project: Path) -> int:
    """Do what a page says, and return how many blocks that were."""
    numbers, done = count(1), 0
    project.joinpath("pyproject.toml").unlink(missing_ok=True)
    for step in steps_of(path.read_text(encoding="utf-8")):
        if isinstance(step, Program):
            run_program(step, path, project, next(numbers))
            done += len(step.blocks)
        elif step.title:
            (project / step.title).parent.mkdir(parents=True, exist_ok=True)
            (project / step.title).write_text(step.text, encoding="utf-8")
            done += 1
        else:
            for command, expected in commands_of(step.text):
                printed = printed_by(["sh", "-c", command], project, next(numbers))
                compare(printed, expected, f"{path.name}:{step.line}: $ {command}")
            done += 1
    return done


def commands_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a block with what it prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


def run_program(program: Program, path: Path, project: Path, number: int) -> None:
    """Run blocks as one program, and compare what each prints."""
    file = project / f"example{number}.py"
    parts = [block.text for block in program.blocks]
    file.write_text(f"\nprint({MARK!r}, flush=True)\n".join(parts), encoding="utf-8")
    outputs = printed_by([sys.executable, "-W", "error", file.name], project, number).split(f"{MARK}\n")
    for block, printed in zip(program.blocks, outputs, strict=True):
        if block.output is not None:
            compare(printed, block.output, f"{path.name}:{block.line}")


def printed_by(command: list[str], project: Path, number: int) -> str:
    """Run a command in a folder as a user would, and return what it prints on both channels."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(HERE / "seeded"),
        "DOCUMENT_SEED": str(number),
        "COLUMNS": "120",
        "XDG_DATA_HOME": str(project.parent / "data"),
        "PYTEST_PLUGINS": "pytest_memollm",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # A page's tests need none of those that are here, and start faster.
    }
    result = subprocess.run(
        command,
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0 or command[0] == "sh", result.stdout
    return result.stdout


def compare(printed: str, expected: str, where: str) -> None:
    """Assert that what was printed is what the page shows."""
    lines = [".*".join(map(re.escape, line.rstrip().split("…"))) for line in expected.rstrip().splitlines()]
    pattern = "\n".join(lines).replace("\n.*\n", r"\n(?:.*\n)*")
    pattern = re.sub(r"\n\.\*$", r"(?:\n.*)*", pattern)
    stripped = "\n".join(line.rstrip() for line in printed.rstrip().splitlines())
    assert re.fullmatch(pattern, stripped), f"{where} shows\n{expected}\nand prints\n{stripped}"
