"""An event loop that draws from a server waits for no network, and needs no client of its own."""

import asyncio
import threading
from functools import partial

import pytest

from memollm import Cache

DRAWS, CALLS, POOL = 2_000, 100, 8


pytestmark = pytest.mark.usefixtures("team_key")


def postgres_sessions(server):
    import psycopg

    with psycopg.connect(server.url) as connection:
        named = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'memollm' AND datname = current_database()"
        )
        return connection.execute(named).fetchone()[0]


def redis_sessions(server):
    with server.client() as client:
        return len(client.client_list()) - 1


@pytest.fixture(params=["postgres", "redis"])
def counted(request):
    """Give the URL of an empty cache, and what counts the connections to its server."""
    server = request.getfixturevalue(request.param)
    return server.fresh(), partial({"postgres": postgres_sessions, "redis": redis_sessions}[request.param], server)


def test_a_loop_waits_for_no_server(counted):
    """However many draws are asked, the first ones too, others than the loop's thread wait for the server (P12)."""
    url, sessions = counted
    had = sessions()
    with Cache(url) as cache:
        store, waited, requests = cache.store, set(), []
        opening, bringing = store._open, store._brought

        def opened():
            waited.add(threading.get_ident())
            return opening()

        def brought(asked):
            waited.add(threading.get_ident())
            requests.append(len(asked))
            return bringing(asked)

        store._open, store._brought = opened, brought

        @cache.cached_llm(namespace="a", pool=POOL, name="ask", version=1)
        async def ask(number):
            return number

        async def draw():
            drawn = await asyncio.gather(*(ask(number % CALLS) for number in range(DRAWS)))
            return threading.get_ident(), drawn

        for _ in range(2):
            of_loop, drawn = asyncio.run(draw())
            assert drawn == [number % CALLS for number in range(DRAWS)]
            assert of_loop not in waited
        # What many ask is brought together, and no task has a connection of its own.
        assert max(requests) > 10
        assert sessions() - had <= 5
