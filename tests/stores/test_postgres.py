"""The PostgreSQL store keeps what every store promises."""

import pytest
from servers import require_psycopg

require_psycopg()

from memollm.stores.postgres import session
from memollm.stores.postgres.connections import Connections
from memollm.stores.postgres.store import PostgresStore
from memollm.testing import DurableConformance, SharedConformance, SharedMatchingConformance, StoreConformance


class KeptConnections(Connections):
    """Connections that the next test is lent: a server is slow with the first requests of each."""

    kept = []  # noqa: RUF012 - of all tests

    def connect(self):
        return self.kept.pop() if self.kept else super().connect()

    def close(self):
        self.kept += self._idle
        self._idle.clear()


@pytest.fixture(scope="module", autouse=True)
def kept():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "Connections", KeptConnections)
        yield
    while KeptConnections.kept:
        KeptConnections.kept.pop().close()


class TestPostgresStore(StoreConformance, DurableConformance, SharedConformance, SharedMatchingConformance):
    @pytest.fixture(autouse=True)
    def server(self, postgres):
        self.url = postgres.fresh()

    def make(self):
        return PostgresStore(self.url)

    def reopen(self, store):
        store.close()
        return self.make()

    def peer(self, store):
        return self.make()
