"""`FakeProvider`: a provider of language models on loopback that counts and logs what it is asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter, deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

from memollm.testing._provider.dialects import dialect_of, error_body, response_body
from memollm.testing._provider.replies import Reply, dict_of, list_of, reply_to, request_digest
from memollm.testing._provider.wire import Loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from memollm.testing._provider.dialects import Dialect, Event
    from memollm.testing._provider.wire import Received, Wire

KEY: Final = "sk-fake-provider-0123456789"
JSON: Final = {"content-type": "application/json"}
SSE: Final = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


@dataclass(eq=False)
class ProviderRequest:
    """A request that the provider was sent, and what became of it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: dict[str, Any]
    is_call: bool = False
    """Whether it was for a model."""
    status: int | None = None
    """What it was answered with; None while it is under way, and where the client left before."""
    is_whole: bool = False
    """Whether the answer was sent to its end."""
    samples: list[str] = field(default_factory=list[str])
    """The texts of the samples that it was given."""


@dataclass
class Mishap:
    """What is to go wrong with a request."""

    kind: str
    status: int = 200
    retry_after: float | None = None
    after: int = 0


class FakeProvider:
    """Answers on loopback like the APIs of OpenAI (chat, completions, responses, embeddings) and Anthropic (messages).

    ::

        with FakeProvider() as provider:
            client = openai.OpenAI(base_url=provider.openai_url, api_key=provider.key)
            ...
            assert provider.calls == 1

    Every sample is another one, the same for the same `seed`, request and number; streams come as server-sent events,
    tools are called, schemas are fitted, and usage is told (a word is a token).

    seed      other samples for another seed
    key       who gives another key is refused (401); None lets everybody in
    latency   seconds before an answer begins
    pace      seconds between the events of a stream
    answer    what to say instead, given the request's body and the number of the sample: a text or a `ToolUse`
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        key: str | None = KEY,
        latency: float = 0.0,
        pace: float = 0.0,
        answer: Callable[[dict[str, Any], int], object] | None = None,
    ) -> None:
        self.seed = seed
        self.key = key
        self.latency = latency
        self.pace = pace
        self.answer = answer
        self._asked: list[ProviderRequest] = []
        self._given: Counter[str] = Counter()
        self._background: dict[str, dict[str, Any]] = {}
        self._faults: deque[Mishap] = deque()
        self._changed = threading.Condition()
        self._held: asyncio.Event | None = None
        self._held_after = 0
        self._server = Loopback(self._handle)

    def __enter__(self) -> Self:
        self._server.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    # Where it is, and what it was asked.

    @property
    def url(self) -> str:
        """Where it serves, without a path; Anthropic's client wants this one."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def openai_url(self) -> str:
        """What OpenAI's client, and those like it, want as `base_url`."""
        return f"{self.url}/v1"

    @property
    def is_closed(self) -> bool:
        """Whether it has ended, and its thread with it."""
        return self._server.is_closed

    @property
    def requests(self) -> list[ProviderRequest]:
        """All requests so far, in the order in which they came; those for no model are among them."""
        with self._changed:
            return [*self._asked]

    @property
    def calls(self) -> int:
        """How many answers of a model were sent to their end."""
        with self._changed:
            return sum(asked.is_call and asked.is_whole for asked in self._asked)

    @property
    def samples(self) -> list[str]:
        """The texts of all samples that were begun to be given."""
        with self._changed:
            return [sample for asked in self._asked for sample in asked.samples]

    def wait_for(self, requests: int, *, timeout: float = 30.0) -> None:
        """Block until so many requests have come in; `TimeoutError` if they never do."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._asked) >= requests, timeout):
                raise TimeoutError(
                    f"The provider was asked {len(self._asked)} times, not {requests}, within {timeout} seconds."
                )

    # What is to go wrong.

    def fail(self, status: int = 429, *, times: int = 1, retry_after: float | None = None) -> None:
        """Answer the next requests with an error."""
        self._plan(Mishap("status", status, retry_after), times)

    def cut(self, *, after: int = 1, times: int = 1) -> None:
        """Break the connection off: in a stream after so many events, in another answer in the middle of the body."""
        self._plan(Mishap("cut", after=after), times)

    def err_in_stream(self, *, after: int = 1, times: int = 1) -> None:
        """Send an error as an event of the next streams, after so many others, and end them."""
        self._plan(Mishap("error", after=after), times)

    def garble(self, *, times: int = 1) -> None:
        """Answer the next requests with 200 and a body that is not what was asked for."""
        self._plan(Mishap("garbled"), times)

    def _plan(self, fault: Mishap, times: int) -> None:
        with self._changed:
            self._faults.extend([fault] * times)

    @contextmanager
    def held(self, *, after: int = 0) -> Generator[None]:
        """Let requests inside the block come in and be counted, and answer them when it ends.

        Streams wait after so many events.
        """
        held = self._held = asyncio.Event()
        self._held_after = after
        try:
            yield
        finally:
            self._held = None
            self._server.tell(held.set)

    # Answering.

    async def _handle(self, received: Received, wire: Wire) -> None:
        asked = _asked(received)
        with self._changed:
            self._asked.append(asked)
            dialect = dialect_of(asked.path) if asked.method == "POST" else None
            asked.is_call = dialect is not None
            fault = self._faults.popleft() if self._faults and dialect is not None else None
            self._changed.notify_all()
        held, after = self._held, self._held_after
        if self.latency:
            await asyncio.sleep(self.latency)
        if held is not None and (after == 0 or not asked.body.get("stream")):
            await held.wait()
        await self._answer(asked, dialect, fault, Outgoing(asked, wire, held, after, self.pace))

    async def _answer(
        self, asked: ProviderRequest, dialect: Dialect | None, fault: Mishap | None, out: Outgoing
    ) -> None:
        is_anthropic = dialect is not None and dialect.is_anthropic
        if not self._lets_in(asked):
            await out.error(401, "This key is not the provider's.", is_anthropic=is_anthropic)
        elif fault is not None and fault.kind == "status":
            await out.error(fault.status, "As planned.", is_anthropic=is_anthropic, retry_after=fault.retry_after)
        elif fault is not None and fault.kind == "garbled":
            await out.whole({}, garbled=b"<html>Bad gateway</html>")
        elif dialect is None:
            await self._answer_besides(asked, out)
        else:
            await self._answer_as(dialect, asked, fault, out)

    def _lets_in(self, asked: ProviderRequest) -> bool:
        given = {asked.headers.get(name) for name in ("x-api-key", "api-key")}
        given.add(asked.headers.get("authorization", "").removeprefix("Bearer "))
        return self.key is None or self.key in given

    async def _answer_besides(self, asked: ProviderRequest, out: Outgoing) -> None:
        """Answer what is not for a model: a list of models, or a response that was made in the background."""
        found = self._background.get(asked.path.rpartition("/")[2])
        if asked.method == "GET" and asked.path.endswith("/models"):
            model = {"id": "fake-model", "object": "model", "created": 1_750_000_000, "owned_by": "memollm"}
            await out.whole({"object": "list", "data": [model]})
        elif asked.method == "GET" and found is not None:
            await out.whole(found)
        else:
            await out.error(404, f"Nothing is served at {asked.method} {asked.path}.", is_anthropic=False)

    async def _answer_as(self, dialect: Dialect, asked: ProviderRequest, fault: Mishap | None, out: Outgoing) -> None:
        body, replies = asked.body, self._replies(dialect, asked.body)
        asked.samples = [reply.text or json.dumps(reply.tools) for reply in replies]
        if body.get("background"):
            done = response_body(body, replies)
            self._background[done["id"]] = done
            await out.whole(response_body(body, replies, "queued"))
        elif body.get("stream") and dialect.events is not None:
            await out.stream([*dialect.events(body, replies)], fault, is_anthropic=dialect.is_anthropic)
        else:
            await out.whole(dialect.body(body, replies), cut=fault is not None)

    def _replies(self, dialect: Dialect, body: dict[str, Any]) -> list[Reply]:
        digest = request_digest(dialect.path, body)
        prompts = list_of(body.get("prompt"))
        each = len(prompts) if prompts and not isinstance(prompts[0], int) else 1
        n = each * int(body.get("n") or 1)
        with self._changed:
            first = self._given[digest] + 1
            self._given[digest] += n
        return [
            reply_to(body, seed=self.seed, digest=digest, number=number, answer=self.answer)
            for number in range(first, first + n)
        ]


class Outgoing:
    """The way of one answer, with what is to hold it up."""

    def __init__(self, asked: ProviderRequest, wire: Wire, held: asyncio.Event | None, after: int, pace: float) -> None:
        self._asked, self._wire = asked, wire
        self._held, self._after, self._pace = held, after, pace

    async def whole(self, body: dict[str, Any], *, cut: bool = False, garbled: bytes = b"") -> None:
        """Send a body in one piece, or half of it."""
        content = garbled or json.dumps(body).encode()
        headers = {**JSON, "x-request-id": f"req_{id(self._asked):x}"}
        self._asked.status = 200
        if cut:
            await self._wire.cut(content[: len(content) // 2], headers)
        else:
            self._asked.is_whole = not garbled
            await self._wire.whole(200, content, headers)

    async def error(self, status: int, message: str, *, is_anthropic: bool, retry_after: float | None = None) -> None:
        """Send an error."""
        headers = JSON if retry_after is None else {**JSON, "retry-after": f"{retry_after:g}"}
        self._asked.status = status
        body = error_body(status, message, is_anthropic=is_anthropic)
        await self._wire.whole(status, json.dumps(body).encode(), headers)

    async def stream(self, events: Sequence[Event], fault: Mishap | None, *, is_anthropic: bool) -> None:
        """Send events one by one."""
        wire = self._wire
        self._asked.status = 200
        await wire.begin(200, SSE)
        for number, event in enumerate(events):
            if fault is not None and number == fault.after:
                if fault.kind == "error":
                    error = error_body(500, "As planned.", is_anthropic=is_anthropic)
                    await wire.piece(_event_bytes(("error" if is_anthropic else None, error)))
                await wire.cut()
                return
            if self._held is not None and number == self._after:
                await self._held.wait()
            if self._pace and number:
                await asyncio.sleep(self._pace)
            # The last event is what clients stop reading at.
            self._asked.is_whole = number == len(events) - 1
            await wire.piece(_event_bytes(event))
        with suppress(ConnectionError):
            await wire.end()


def _asked(received: Received) -> ProviderRequest:
    url = urlsplit(received.target)
    body: object = None
    with suppress(ValueError, RecursionError):
        body = json.loads(received.content or b"{}")
    return ProviderRequest(received.method, url.path, dict(parse_qsl(url.query)), received.headers, dict_of(body))


def _event_bytes(event: Event) -> bytes:
    name, data = event
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()
