"""The table of commands: where each is, and what it does in one line, so that the help need not load them."""

from __future__ import annotations

from typing import Final, NamedTuple


class CommandEntry(NamedTuple):
    """A command that is not loaded yet."""

    module: str
    function: str
    help: str
    """The first line of the command's own help."""


COMMANDS: Final[dict[str, CommandEntry]] = {
    "demo": CommandEntry("memollm.cli.demo", "demo", "Show in seconds what it does, with a fake model."),
    "stats": CommandEntry("memollm.cli.statistics", "stats", "Say what is stored, what was paid and what was saved."),
    "report": CommandEntry("memollm.cli.report", "report", "Write a page about the cache to FILE."),
    "ls": CommandEntry("memollm.cli.calls", "ls", "List the calls that have samples."),
    "show": CommandEntry("memollm.cli.samples", "show", "Show a call with all its samples, or what a run drew."),
    "functions": CommandEntry("memollm.cli.functions", "functions", "List the functions, or the versions of one."),
    "adopt": CommandEntry(
        "memollm.cli.functions", "adopt", "Give samples of an older version of a function to its latest."
    ),
    "similar": CommandEntry(
        "memollm.cli.similar", "similar", "List what similar calls have lent, or find a threshold."
    ),
    "namespaces": CommandEntry("memollm.cli.readers", "namespaces", "List the namespaces and how much each has drawn."),
    "runs": CommandEntry("memollm.cli.runs", "runs", "List the runs of programs, the latest first."),
    "rewind": CommandEntry("memollm.cli.readers", "rewind", "Set a namespace back to its start."),
    "drop": CommandEntry("memollm.cli.readers", "drop", "Remove a namespace; the samples that it drew stay."),
    "forget": CommandEntry("memollm.cli.samples", "forget", "Remove calls with all their samples and cursors."),
    "prune": CommandEntry("memollm.cli.pruning", "prune", "Remove whole calls until every limit holds."),
    "sweep": CommandEntry("memollm.cli.pruning", "sweep", "Clear a tier's bucket of what nothing refers to."),
    "verify": CommandEntry("memollm.cli.verify", "verify", "Check everything that is stored, and repair it."),
    "export": CommandEntry("memollm.cli.transfer", "export", "Write a cache, or a part of it, into a file."),
    "load": CommandEntry("memollm.cli.transfer", "load", "Bring in what an exported file holds."),
    "copy": CommandEntry("memollm.cli.transfer", "copy", "Bring everything that one cache holds into another."),
    "sync": CommandEntry("memollm.cli.transfer", "sync", "Exchange samples with the bucket of a cache."),
    "import-from": CommandEntry(
        "memollm.cli.import_from", "import_from", "Take over what another library's cache holds."
    ),
    "doctor": CommandEntry(
        "memollm.cli.doctor", "doctor", "Look for what could be wrong with the cache and its place."
    ),
    "proxy": CommandEntry("memollm.cli.proxy", "proxy", "Serve a caching proxy, for programs in any language."),
    "ui": CommandEntry("memollm.cli.ui", "ui", "Serve a live page about the cache, for your browser."),
    "completion": CommandEntry("memollm.cli.completion", "completion", "Write what makes a shell complete commands."),
}
"""In the order of the help. A new command is a line here, a section in docs/cli.md and a test."""
