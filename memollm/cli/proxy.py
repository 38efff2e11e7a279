"""`memollm proxy`: serves what models answer, and keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from memollm._types.durations import seconds_of
from memollm._types.secret import veiled
from memollm._upkeep.prune import bytes_of
from memollm.cli._options import command
from memollm.cli._output import note
from memollm.cli._place import chosen
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm.cli._options import Function

SECONDS: Final = ("grace", "upstream_timeout")


def _options(function: Function) -> Function:
    """Take the options that say how requests are drawn, and who is let in."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


OPTIONS: Final[list[Callable[[Any], Any]]] = [
    click.option(
        "--upstream",
        "upstreams",
        metavar="[PREFIX=]URL",
        multiple=True,
        required=True,
        help="Whom to ask, as https://api.openai.com/v1; /path=URL or model-=URL for a part. May be given again.",
    ),
    click.option(
        "--host", metavar="NAME", default="127.0.0.1", help="Where to serve; beyond this machine needs a token."
    ),
    click.option(
        "--port", metavar="N", type=click.IntRange(0, 65535), default=8800, help="Where to serve; 0: any free."
    ),
    click.option("--workers", metavar="N", type=click.IntRange(1), default=1, help="How many processes serve."),
    click.option("--namespace", metavar="NAME", help="Who reads where a request does not say."),
    click.option("--mode", metavar="MODE", help="How to draw where a request does not say: such as offline."),
    click.option(
        "--pool", metavar="N", type=click.IntRange(1), help="How many samples a call has: 1 is plain caching."
    ),
    click.option("--ttl", metavar="AGE", help="How long a sample counts, such as 7d."),
    click.option("--budget", metavar="TEXT", help="What all may spend together, such as 'cost=2.50 calls=1000'."),
    click.option("--per-key", is_flag=True, help="Share nothing between callers with different keys."),
    click.option(
        "--on-disconnect",
        metavar="WHICH",
        type=click.Choice(("stop", "finish")),
        default="stop",
        help="A stream that its client leaves: stop it, or finish and keep it.",
    ),
    click.option(
        "--token",
        metavar="TEXT",
        envvar="MEMOLLM_PROXY_TOKEN",
        help="What requests must bear as x-memollm-token; better said by MEMOLLM_PROXY_TOKEN.",
    ),
    click.option(
        "--allow-host", "hosts", metavar="NAME", multiple=True, help="Another name of this machine for itself."
    ),
    click.option("--max-body", metavar="SIZE", default="32MB", help="The largest request."),
    click.option(
        "--max-requests", metavar="N", type=click.IntRange(1), default=1000, help="How many at once, a worker."
    ),
    click.option("--upstream-timeout", metavar="AGE", default="600s", help="How long an upstream may be silent."),
    click.option("--grace", metavar="AGE", default="60s", help="How long requests under way have at the end."),
]


@command("proxy")
@_options
def proxy(*, upstreams: tuple[str, ...], port: int, **given: Any) -> None:
    """Serve a caching proxy, for programs in any language.

    Programs change their base URL and nothing else. What models answer to chat completions, completions, responses,
    embeddings and messages is kept; everything else is passed through. Keys are passed on and never written.
    """
    try:
        from memollm.proxy.serving import serve
        from memollm.proxy.settings import settings_of
    except ImportError as error:
        # It names the extra.
        raise OptionError(str(error)) from error
    for option in SECONDS:
        given[option] = seconds_of(option, given[option])
    given["max_body"] = int(bytes_of("max_body", given["max_body"]))
    place = chosen().place
    settings = settings_of(upstreams, cache=place, **given)
    shown = ", ".join(each.url for each in settings.upstreams)
    serve(
        settings, port, lambda address: note(f"Serving {shown} on {address}, kept in {veiled(place)}. Ctrl-C ends it.")
    )
