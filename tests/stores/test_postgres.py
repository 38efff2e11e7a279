"""The PostgreSQL store keeps what every store promises."""

import pytest

from memollm.testing import DurableConformance, SharedConformance, StoreConformance


class TestPostgresStore(StoreConformance, DurableConformance, SharedConformance):
    @pytest.fixture(autouse=True)
    def server(self, postgres):
        self.url = postgres.fresh()

    def make(self):
        from memollm.stores.postgres.store import PostgresStore

        return PostgresStore(self.url)

    def reopen(self, store):
        store.close()
        return self.make()

    def peer(self, store):
        return self.make()
