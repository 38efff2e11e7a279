"""The Redis store keeps what every store promises."""

import pytest
from servers import require_redis

require_redis()

from memollm.stores.redis.store import RedisStore
from memollm.testing import DurableConformance, SharedConformance, SharedMatchingConformance, StoreConformance


class TestRedisStore(StoreConformance, DurableConformance, SharedConformance, SharedMatchingConformance):
    @pytest.fixture(autouse=True)
    def server(self, redis):
        self.url = redis.fresh()

    def make(self):
        return RedisStore(self.url)

    def reopen(self, store):
        store.close()
        return self.make()

    def peer(self, store):
        return self.make()
