"""The command that shows what memollm does."""

from __future__ import annotations

from memollm.cli._options import command


@command("demo")
def demo() -> None:
    """Show in seconds what it does, with a fake model.

    Two namespaces and a rerun read the samples that were paid for once, in a cache that goes away.
    """
    from memollm.cli.demo_program import main

    main()
