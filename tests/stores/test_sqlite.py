"""The SQLite store keeps what every store promises."""

import pytest

from memollm.stores.sqlite.store import SqliteStore
from memollm.testing import DurableConformance, SharedConformance, SharedMatchingConformance, StoreConformance


class TestSqliteStore(StoreConformance, DurableConformance, SharedConformance, SharedMatchingConformance):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path):
        self.path = tmp_path / "cache"

    def make(self):
        return SqliteStore(self.path)

    def reopen(self, store):
        store.close()
        return SqliteStore(self.path)

    def peer(self, store):
        return SqliteStore(store.files.database)
