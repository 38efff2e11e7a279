"""The transports: a request of a client becomes a draw, and what is drawn becomes its response."""

from __future__ import annotations

import functools
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Self

from memollm._calls.context import Overheard
from memollm._calls.decorator import cached_llm
from memollm.errors import MemollmError, OptionError
from memollm.http.exchanges import Exchange, NoAnswer
from memollm.http.finishing import ToldExchange, told
from memollm.http.options import HttpOptions, Rules, rules_of
from memollm.http.passing import events, events_async, following, following_async, retold, retold_async
from memollm.http.questions import Question, endpoint_for, question_of
from memollm.http.responses import JSON, NAME, SSE, TRACKED, classes_for, passed_on, refused
from memollm.http.samples import body_of, is_body, join, keeper
from memollm.http.speech import events_from

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from typing import Unpack

    from memollm._spending.track import Track
    from memollm.http.endpoints import Endpoint
    from memollm.http.exchanges import Answered
    from memollm.http.samples import Sample

    # It is given to clients of two libraries, and is neither's.
    Duck = Any
else:
    Duck = object

VERSION: Final = "1"
OF_TASKS: Final = frozenset({"on_cancel", "grace"})
"""Options of coroutine functions alone."""


# What is drawn. `send` asks the provider, and is no part of the key.


def _ask(url: str, query: Any, headers: Any, body: Any, send: Exchange) -> Any:  # noqa: ARG001 - they are the key
    return send.ask()


def _ask_several(url: str, query: Any, headers: Any, body: Any, send: Exchange, n: int) -> Any:  # noqa: ARG001, PLR0917
    return send.ask(n)


def _listen(url: str, query: Any, headers: Any, body: Any, send: Exchange) -> Generator[str, None, None]:  # noqa: ARG001
    yield from send.listen()


async def _ask_async(url: str, query: Any, headers: Any, body: Any, send: Exchange) -> Any:  # noqa: ARG001
    return await send.ask_async()


async def _ask_several_async(url: str, query: Any, headers: Any, body: Any, send: Exchange, n: int) -> Any:  # noqa: ARG001, PLR0917
    return await send.ask_async(n)


async def _listen_async(url: str, query: Any, headers: Any, body: Any, send: Exchange) -> AsyncGenerator[str, None]:  # noqa: ARG001
    async with aclosing(send.listen_async()) as heard:
        async for event in heard:
            yield event


async def _record_async(url: str, query: Any, headers: Any, body: Any, send: ToldExchange) -> Any:  # noqa: ARG001
    return await send.record_async()


class _Memoizing(Duck):  # type: ignore[misc]
    """What the transports of both colours have in common."""

    _functions: tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]

    def __init__(self, inner: Any = None, **options: Unpack[HttpOptions]) -> None:
        """Memoize what goes through another transport; without one, a plain one is made."""
        self._given = inner
        self._made: dict[str, Any] = {}
        self._rules: Rules = rules_of({**options})
        self._drawn: dict[tuple[str, str], Any] = {}
        # What contradicts itself is said here, not at the first request.
        cached_llm(ignore="send", **self._rules.drawing)(self._functions[0])

    def _question(self, request: Any, endpoint: Endpoint) -> Question | None:
        return question_of(request, endpoint, self._rules)

    def _inner(self, request: Any, kind: str) -> Any:
        """Return the transport underneath."""
        if self._given is not None:
            return self._given
        library = classes_for(request).library
        if library.__name__ not in self._made:
            self._made[library.__name__] = getattr(library, kind)()
        return self._made[library.__name__]

    def _function(self, question: Question) -> Any:
        """Return the memoized function that answers such questions; all of one API have one name."""
        endpoint = question.endpoint
        shape = "several" if question.n is not None else "apart" if question.is_apart else str(question.streams)
        function = self._drawn.get((endpoint.name, shape))
        if function is None:
            function = self._drawn[endpoint.name, shape] = self._decorated(endpoint, shape)
        return function

    def _decorated(self, endpoint: Endpoint, shape: str) -> Any:
        ask, ask_several, listen = self._functions
        options: dict[str, Any] = {"pool": endpoint.pool, **self._rules.drawing}
        options["accept"] = keeper(endpoint, options.get("accept"))
        name = f"{endpoint.name}.stream" if shape == "apart" else endpoint.name
        decorate: Any = cached_llm
        decorated: Any = functools.partial(decorate, name=name, version=VERSION, ignore="send", **options)
        if shape in {"apart", "True"}:
            if self._rules.finishes:
                return decorated()(_record_async)
            return decorated(**dict.fromkeys(OF_TASKS & options.keys()))(listen)
        return decorated(count="n")(ask_several) if shape == "several" else decorated()(ask)


def _whole(request: Any, question: Question, exchange: Exchange, drawn: Any, tracked: Track) -> Any:
    """Return the response of a whole answer, or of several."""
    answered = exchange.answered
    content = _content(question, drawn)
    headers = [*(JSON if answered is None else answered.headers), (NAME, _kind(exchange, tracked))]
    return classes_for(request).response(200, headers=headers, content=content, extensions=_told(answered, tracked))


def _told(answered: Answered | None, tracked: Track) -> dict[str, Any]:
    """Return what a response tells besides: of HTTP, where the provider was asked, and what was drawn."""
    return {**({} if answered is None else answered.extensions), TRACKED: tracked}


def _content(question: Question, drawn: Any) -> bytes:
    if question.n is not None:
        return _text(join([body_of(sample, question.endpoint) for sample in drawn]))
    return drawn[0].encode() if is_body(drawn) else _text(body_of(drawn, question.endpoint))


def _text(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _kind(exchange: Exchange, tracked: Track) -> str:
    if exchange.answered is not None:
        return "paid"
    return tracked.draws[-1].kind if tracked.draws else "hit"


def _streamed(request: Any, exchange: Exchange, passing: Any, tracked: Track) -> Any:
    answered = exchange.answered
    headers = [*(SSE if answered is None else answered.headers), (NAME, _kind(exchange, tracked))]
    return classes_for(request).response(200, headers=headers, stream=passing, extensions=_told(answered, tracked))


def _events_of(question: Question, sample: Sample) -> list[str]:
    """Return the events that tell of a stored answer."""
    return events_from(body_of(sample, question.endpoint), question.endpoint, wants_usage=question.wants_usage)


class Transport(_Memoizing):
    """A transport for a `Client` of httpx or httpx2 that memoizes what models answer.

    ::

        client = openai.OpenAI(http_client=httpx2.Client(transport=memollm.http.Transport(namespace="exp-1")))
    """

    _functions = (_ask, _ask_several, _listen)

    def __init__(self, inner: Any = None, **options: Unpack[HttpOptions]) -> None:
        """Memoize what goes through another transport; without one, a plain one is made."""
        super().__init__(inner, **options)
        if self._rules.finishes:
            raise OptionError("on_leave='finish': what a thread leaves nobody reads on, so it is for async clients.")

    def handle_request(self, request: Any) -> Any:
        """Answer a request: from what is stored, or from the provider."""
        inner = self._inner(request, "HTTPTransport")
        endpoint = endpoint_for(request, self._rules)
        if endpoint is None:
            return inner.handle_request(request)
        request.read()
        try:
            question = self._question(request, endpoint)
            if question is None:
                return inner.handle_request(request)
            exchange = Exchange(inner, request, question)
            answer = self._streamed if question.streams else self._whole
            return answer(request, question, exchange)
        except NoAnswer as none:
            return passed_on(request, none.answered)
        except MemollmError as error:
            return refused(request, error)

    def _whole(self, request: Any, question: Question, exchange: Exchange) -> Any:
        number = {} if question.n is None else {"n": question.n}
        with Overheard() as tracked:
            drawn = self._function(question)(**question.material, send=exchange, **number)
        return _whole(request, question, exchange, drawn, tracked)

    def _streamed(self, request: Any, question: Question, exchange: Exchange) -> Any:
        with Overheard() as tracked:
            source = self._function(question)(**question.material, send=exchange)
        first = following(source)
        if first is not None and is_body([first]):
            passed = retold(_events_of(question, [first]), source, question.endpoint.ends)
        else:
            passed = events(first, source, question.endpoint.ends)
        return _streamed(request, exchange, classes_for(request).passing(passed, source), tracked)

    def close(self) -> None:
        """Close the transport underneath."""
        for inner in (self._given, *self._made.values()):
            if inner is not None:
                inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncTransport(_Memoizing):
    """A transport for an `AsyncClient` of httpx or httpx2 that memoizes what models answer."""

    _functions = (_ask_async, _ask_several_async, _listen_async)

    async def handle_async_request(self, request: Any) -> Any:
        """Answer a request: from what is stored, or from the provider."""
        inner = self._inner(request, "AsyncHTTPTransport")
        endpoint = endpoint_for(request, self._rules)
        if endpoint is None:
            return await inner.handle_async_request(request)
        await request.aread()
        try:
            question = self._question(request, endpoint)
            if question is None:
                return await inner.handle_async_request(request)
            if not question.streams:
                return await self._whole(request, question, Exchange(inner, request, question))
            finishes = self._rules.finishes
            exchange = ToldExchange(inner, request, question) if finishes else Exchange(inner, request, question)
            return await self._streamed(request, question, exchange)
        except NoAnswer as none:
            return passed_on(request, none.answered)
        except MemollmError as error:
            return refused(request, error)

    async def _whole(self, request: Any, question: Question, exchange: Exchange) -> Any:
        number = {} if question.n is None else {"n": question.n}
        with Overheard() as tracked:
            drawn = await self._function(question)(**question.material, send=exchange, **number)
        return _whole(request, question, exchange, drawn, tracked)

    async def _streamed(self, request: Any, question: Question, exchange: Exchange) -> Any:
        draw = functools.partial(self._function(question), **question.material, send=exchange)
        with Overheard() as tracked:
            source = told(draw, exchange) if isinstance(exchange, ToldExchange) else draw()
        first = await following_async(source)
        if first is not None and is_body([first]):
            passed = retold_async(_events_of(question, [first]), source, question.endpoint.ends)
        else:
            passed = events_async(first, source, question.endpoint.ends)
        return _streamed(request, exchange, classes_for(request).passing_async(passed, source), tracked)

    async def aclose(self) -> None:
        """Close the transport underneath."""
        for inner in (self._given, *self._made.values()):
            if inner is not None:
                await inner.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
