"""`memollm ui`: the live page of the cache, on this machine."""

from __future__ import annotations

import sys

import click

from memollm.cli._opening import existing_cache
from memollm.cli._options import command
from memollm.cli._output import note
from memollm.cli._showing import show_command, shown_place
from memollm.errors import OptionError


@command("ui")
@click.option("--port", metavar="N", type=click.IntRange(0, 65535), default=8801, help="Where to serve; 0: any free.")
def ui(*, port: int) -> None:
    """Serve a live page about the cache, for your browser.

    It shows what is being drawn now, what was spent and saved, calls by their words, samples beside each other, what
    runs drew, and two namespaces side by side. What it changes (forget, prune, adopt) it shows before it does it. It is
    served on 127.0.0.1 alone; whoever has the address it writes can read the cache.
    """
    try:
        from memollm.ui import serve
    except ImportError as error:
        # It names the extra.
        raise OptionError(str(error)) from error
    with existing_cache() as cache:
        serve(cache, place=shown_place(), show=show_command(), port=port, tell=_tell)


def _tell(address: str) -> None:
    # The address alone is what the command puts out.
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    note("Open it in your browser. Ctrl-C ends it.")
