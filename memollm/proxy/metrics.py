"""What a proxy tells of itself, in the text format of Prometheus."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memollm import Cache

TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
KINDS: Final = (("hit", "hits"), ("shared", "shared"), ("made", "made"))
OF_CACHE: Final = (
    ("memollm_calls_total", "paid", "Calls of models that returned."),
    ("memollm_failed_total", "failed", "Calls of models that raised."),
)
OF_MONEY: Final = (
    ("memollm_spent_dollars_total", "spent", "cost", "Dollars that calls have cost, as far as that is known."),
    ("memollm_spent_input_tokens_total", "spent", "input_tokens", "Tokens that went in."),
    ("memollm_spent_output_tokens_total", "spent", "output_tokens", "Tokens that came out."),
    ("memollm_unpriced_total", "spent", "unpriced", "Calls whose cost nobody knows."),
    ("memollm_saved_dollars_total", "saved", "cost", "Dollars that stored samples would have cost again."),
)


class Metrics:
    """What this worker counts."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        """Answers by where they came from: "hit", "paid", "shared", "passed", "refused" or "left"."""
        self.statuses: Counter[int] = Counter()
        self.under_way = 0

    def text(self, cache: Cache) -> str:
        """Write what this worker has counted, and what the cache has, over all processes and all time."""
        return "\n".join([*self._of_worker(), *_of_cache(cache), ""])

    def _of_worker(self) -> Iterator[str]:
        worker = f'worker="{os.getpid()}"'
        answers = [(f'{worker},answer="{kind}"', number) for kind, number in sorted(self.answers.items())]
        yield from _series(
            "memollm_proxy_answers_total", "counter", "Answers of this worker, by their source.", answers
        )
        statuses = [(f'{worker},status="{status}"', number) for status, number in sorted(self.statuses.items())]
        yield from _series("memollm_proxy_responses_total", "counter", "Responses of this worker.", statuses)
        yield from _series("memollm_proxy_requests", "gauge", "Requests under way.", [(worker, self.under_way)])


def _of_cache(cache: Cache) -> Iterator[str]:
    stats = [(f'function="{_escaped(each.name)}"', each) for each in cache.stats()]
    draws = [(f'{labels},kind="{kind}"', getattr(each, counted)) for labels, each in stats for kind, counted in KINDS]
    yield from _series("memollm_draws_total", "counter", "Samples that were given.", draws)
    for name, counted, what in OF_CACHE:
        yield from _series(name, "counter", what, [(labels, getattr(each, counted)) for labels, each in stats])
    for name, of, counted, what in OF_MONEY:
        numbers: list[tuple[str, Any]] = [(labels, getattr(getattr(each, of), counted)) for labels, each in stats]
        yield from _series(name, "counter", what, numbers)


def _series(name: str, kind: str, what: str, numbers: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP {name} {what}"
    yield f"# TYPE {name} {kind}"
    yield from (f"{name}{{{labels}}} {number:.12g}" for labels, number in numbers)


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
