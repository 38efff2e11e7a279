"""A server with a tier before it keeps what every store promises."""

import pytest
from servers import require_psycopg, require_redis

require_psycopg()
require_redis()

from memollm.stores.postgres.store import PostgresStore
from memollm.stores.redis.store import RedisStore
from memollm.stores.s3.address import bucket_address
from memollm.stores.tier.bucket import BucketTierStore
from memollm.stores.tier.folder import FolderCopies
from memollm.stores.tier.memory import MemoryCopies
from memollm.stores.tier.objects import RecordObjects
from memollm.stores.tier.store import TierStore
from memollm.testing import DurableConformance, SharedConformance, StoreConformance


class TierConformance(StoreConformance, DurableConformance, SharedConformance):
    """Two processes of one machine share a folder, or each has memory of its own."""

    def make(self):
        return TierStore(self.server(self.url), self.copies(), shown="tier")

    def copies(self):
        return FolderCopies(self.folder / "tier.db")

    def reopen(self, store):
        store.close()
        return self.make()

    def peer(self, store):
        return self.make()


class TestRedisWithFolder(TierConformance):
    server = RedisStore

    @pytest.fixture(autouse=True)
    def begun(self, redis, tmp_path):
        self.url, self.folder = redis.fresh(), tmp_path


@pytest.mark.deep
class TestRedisWithMemory(TestRedisWithFolder):
    def copies(self):
        return MemoryCopies()


@pytest.mark.deep
class TestPostgresWithFolder(TierConformance):
    server = PostgresStore

    @pytest.fixture(autouse=True)
    def begun(self, postgres, tmp_path):
        self.url, self.folder = postgres.fresh(), tmp_path


@pytest.mark.deep
class TestPostgresWithMemory(TestPostgresWithFolder):
    def copies(self):
        return MemoryCopies()


@pytest.mark.deep
class TestRedisWithBucket(TestRedisWithFolder):
    """Every record is an object."""

    @pytest.fixture(autouse=True)
    def bucket(self, s3):
        pytest.importorskip("obstore")
        assert s3

    def make(self):
        from memollm.stores.s3.bucket import Bucket

        bucket = Bucket(bucket_address("s3://bucket/tier", "tier"))
        objects = RecordObjects(bucket, "s3://bucket/tier", least=0)
        return BucketTierStore(self.server(self.url), self.copies(), objects, shown="tier")


@pytest.mark.deep
class TestPostgresWithBucket(TestRedisWithBucket):
    server = PostgresStore

    @pytest.fixture(autouse=True)
    def begun(self, postgres, tmp_path):
        self.url, self.folder = postgres.fresh(), tmp_path
