"""The URL of a cache in a bucket: where the bucket is, where this machine keeps its part, what may be shown of it."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from memollm._types.paths import absolute
from memollm._types.secret import masked_url
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEME: Final = "s3"
KNOWN: Final = ("endpoint", "region", "local", "every", "patience")
EVERY: Final = 30.0
"""Seconds between two exchanges with the bucket while a program draws."""
PATIENCE: Final = 20.0
"""Seconds for which a request is repeated that a bucket does not answer."""
ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
"""Variables that say where S3 is, where the URL does not."""
GOOGLE: Final = "storage.googleapis.com"


class BucketAddress(NamedTuple):
    """Where a cache in a bucket is."""

    bucket: str
    prefix: str
    endpoint: str | None
    region: str | None
    folder: Path
    """What this machine has of it."""
    every: float
    patience: float
    shown: str


def bucket_address(url: str, option: str = "cache") -> BucketAddress:
    """Read a URL, which an option has given: a cache, or a tier."""
    shown = masked_url(url)
    parts = urlsplit(url)
    _require_no_credentials(parts.netloc, option)
    bucket, prefix = parts.netloc, parts.path.strip("/")
    if not bucket:
        raise OptionError(f"{option}={shown!r} names no bucket. Write it as s3://bucket/prefix.")
    if {".", ".."} & {*prefix.split("/")}:
        raise OptionError(f"{option}={shown!r}: a prefix is no path, so it has no . or .. in it. Choose another.")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted({*given}.difference(KNOWN)):
        raise OptionError(f"{option}={shown!r}: there is no {unknown[0]!r}; known are {', '.join(KNOWN)}.")
    endpoint = given.get("endpoint") or next(filter(None, map(os.environ.get, ENDPOINTS)), None)
    _require_endpoint(endpoint, shown, option)
    local = given.get("local")
    return BucketAddress(
        bucket,
        prefix,
        endpoint,
        given.get("region") or None,
        absolute(local) if local else _folder(bucket, prefix, endpoint, option),
        _seconds(given, "every", EVERY, f"{option}={shown!r}"),
        _seconds(given, "patience", PATIENCE, f"{option}={shown!r}"),
        shown,
    )


def _require_no_credentials(netloc: str, option: str) -> None:
    if "@" in netloc:
        raise OptionError(
            f"{option}='s3://…': a URL is written into logs and settings, so it must not hold credentials. Set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead."
        )


def _require_endpoint(endpoint: str | None, shown: str, option: str) -> None:
    parts = urlsplit(endpoint or "https://host")
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise OptionError(f"{option}={shown!r}: endpoint={endpoint!r} is no URL. Write it as https://host:port.")
    _require_no_credentials(parts.netloc, option)
    if (parts.hostname or "").endswith(GOOGLE):
        raise OptionError(
            f"{option}={shown!r}: Google Cloud Storage does not hold to S3's put-if-absent, so samples could be "
            "overwritten. Use S3, R2, MinIO or another that does, or a server (postgresql://)."
        )


def _seconds(given: Mapping[str, str], name: str, default: float, said: str) -> float:
    try:
        number = float(given.get(name, default))
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise OptionError(f"{said}: {name}={given.get(name)!r} is not a number of seconds.")
    return number


def _folder(bucket: str, prefix: str, endpoint: str | None, option: str) -> Path:
    """Return where this user's programs keep what they have of a bucket, which they share; of a tier, copies."""
    import platformdirs

    name = hashlib.sha256("\n".join((endpoint or "", bucket, prefix)).encode()).hexdigest()[:12]
    if option == "tier":
        return platformdirs.user_cache_path("memollm") / "tiers" / f"{bucket}-{name}"
    return platformdirs.user_data_path("memollm") / "buckets" / f"{bucket}-{name}"
