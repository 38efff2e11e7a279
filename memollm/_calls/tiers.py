"""What `tier=` may be: a folder of this machine, memory, or a bucket, before a server."""

from __future__ import annotations

import hashlib
import os
import re
from os import PathLike, fspath
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import parse_qs, urlsplit

from memollm._types.paths import absolute
from memollm._types.secret import masked_url
from memollm.errors import OptionError

if TYPE_CHECKING:
    from memollm.stores.drawing import Drawing
    from memollm.stores.tier.copies import Copies

MEMORY: Final = "memory:"
BUCKET: Final = "s3://"
NAMED: Final = {
    "schema": "",
    "prefix": "",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "service": "PGSERVICE",
    "db": "",
}
"""What a URL says besides its path of which cache of a server is meant, and where the environment says it."""


def require_tier(where: str, tier: object) -> str:
    """Return what a tier is, a path as an absolute one; refuse what can be none."""
    text = fspath(cast("str", tier)) if isinstance(tier, str | PathLike) else ""
    if text.startswith(BUCKET):
        from memollm.stores.s3.address import bucket_address

        bucket_address(text, "tier")
        return text
    if not text.strip() or ("://" in text or text == ":memory:"):
        raise OptionError(
            f"{where}={masked_url(f'{tier!r}')}: a tier is a folder of this machine, 'memory:', or a bucket that "
            "speaks S3, 's3://bucket/prefix'. Name one of these."
        )
    return text if text == MEMORY else str(absolute(text))


def require_server_before(tier: str, place: object) -> None:
    """Refuse a tier before what is no server."""
    shown = masked_url(place) if isinstance(place, str) else "this store"
    raise OptionError(
        f"tier={masked_url(tier)!r} stands before a server (postgresql://, redis://), and cache={shown!r} is none. "
        "Leave it out: what is on this machine needs no copies. Several machines share samples without a server by "
        "Cache('s3://bucket/prefix')."
    )


def tiered(store: Drawing, url: str, tier: str) -> Drawing:
    """Put a tier before a server."""
    if tier.startswith(BUCKET):
        return _before_bucket(store, url, tier)
    from memollm.stores.tier.store import TierStore

    return TierStore(store, _copies(url, tier), shown=masked_url(tier))


def _before_bucket(store: Drawing, url: str, tier: str) -> Drawing:
    """Keep large records in a bucket, and copies of them in a folder of this user's."""
    from memollm.stores.s3.address import bucket_address
    from memollm.stores.tier.bucket import BucketTierStore
    from memollm.stores.tier.objects import RecordObjects

    address = bucket_address(tier, "tier")
    try:
        from memollm.stores.s3.bucket import Bucket
    except ImportError as error:
        raise OptionError(f"tier={address.shown!r} needs obstore ({error}): pip install 'memollm[s3]'.") from error
    place = f"{BUCKET}{address.bucket}/{address.prefix}".rstrip("/")
    copies = _copies(url, str(address.folder))
    return BucketTierStore(store, copies, RecordObjects(Bucket(address, meanwhile=""), place), shown=address.shown)


def _copies(url: str, tier: str) -> Copies:
    if tier == MEMORY:
        from memollm.stores.tier.memory import MemoryCopies

        return MemoryCopies()
    from memollm.stores.tier.folder import FolderCopies

    return FolderCopies(absolute(tier) / f"{name_of_cache(url)}.db")


def name_of_cache(url: str) -> str:
    """Return how a file is named that is about one cache of a server: not by who asks, and how."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    of_postgres = parts.scheme.startswith("postgres")
    named = [
        f"{name}={each}"
        for name, variable in NAMED.items()
        for each in asked.get(name) or ([os.environ.get(variable, "")] if of_postgres and variable else [])
    ]
    whole = "\n".join([parts.hostname or "", str(parts.port or ""), parts.path.strip("/"), *named])
    host = re.sub(r"[^a-z0-9.-]", "", parts.hostname or "")[:40] or "server"
    return f"{host}-{hashlib.sha256(whole.encode()).hexdigest()[:12]}"
