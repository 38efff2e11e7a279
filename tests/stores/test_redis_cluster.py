"""A cluster of Redis servers keeps what every store promises."""

import pytest
from servers import require_redis

require_redis()

from memollm.stores.redis.store import RedisStore
from memollm.testing import DurableConformance, SharedConformance, SharedMatchingConformance, StoreConformance


class ClusterUnderTest:
    @pytest.fixture(autouse=True)
    def server(self, cluster):
        self.url = cluster.fresh()

    def make(self):
        return RedisStore(self.url)

    def reopen(self, store):
        store.close()
        return self.make()

    def peer(self, store):
        return self.make()


class TestRedisCluster(ClusterUnderTest, DurableConformance, SharedConformance, SharedMatchingConformance):
    """What depends on where a call is kept."""


@pytest.mark.deep
class TestAllOfACluster(ClusterUnderTest, StoreConformance):
    """The whole, which is mostly that of one server."""
