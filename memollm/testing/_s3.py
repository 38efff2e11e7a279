"""`FakeS3`: buckets on loopback, as S3 and what is compatible with it keep them, and what can go wrong with them."""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections import deque
from datetime import UTC, datetime
from email.utils import formatdate
from html import escape, unescape
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from memollm.testing._provider.wire import Loopback

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from memollm.testing._provider.wire import Received, Wire

PAGE: Final = 1000
"""How many objects one list tells."""
FAULTS: Final = ("503", "409", "lost reply", "lost request")
_KEY: Final = re.compile(rb"<Key>(.*?)</Key>", re.DOTALL)
_SAID: Final = {
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    501: "NotImplemented",
    503: "SlowDown",
}


class BucketRequest(NamedTuple):
    """A request that the server was sent, and what became of it."""

    method: str
    path: str
    """The bucket, a slash, and the object's name if it was about one."""
    status: int
    """What it was answered with, or would have been, had the answer not been lost; 0 where the request was lost."""


class _Planned(NamedTuple):
    fault: str
    method: str | None


class _Reply(NamedTuple):
    status: int
    content: bytes = b""
    headers: Mapping[str, str] = {}


class FakeS3:
    """Keeps objects on loopback as S3 does, so that a cache in a bucket can be tested without any.

    ::

        with FakeS3() as s3:
            cache = Cache(f"s3://samples/team?endpoint={s3.url}")
            s3.lose_replies()       # the next object is kept, and nobody is told
            s3.fail(503)            # the next request is refused

    Objects are put, copied, got, listed and deleted; `If-None-Match: *` and `If-Match` hold, and each request is done
    as a whole or not at all. Who asks is not asked who he is; `environment` is what clients want to be told all the
    same.

    buckets     the buckets that there are; None: any
    conditions  False: conditions are ignored, as by a server that must not be used for this
    """

    def __init__(self, *, buckets: Collection[str] | None = None, conditions: bool = True) -> None:
        self._buckets = buckets
        self._conditions = conditions
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._passed = 0.0
        self._asked: list[BucketRequest] = []
        self._faults: deque[_Planned] = deque()
        self._chance = 0.0
        self._random = random.Random()  # noqa: S311 - no secret
        self._lock = threading.Condition()
        self._server = Loopback(self._handle)

    def __enter__(self) -> Self:
        self._server.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    # Where it is, what it holds, and what it was asked.

    @property
    def url(self) -> str:
        """Where it serves: what clients call the endpoint."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which a program finds it, and is let in."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "fake-s3",
            "AWS_SECRET_ACCESS_KEY": "fake-s3-secret",
        }

    @property
    def objects(self) -> dict[str, bytes]:
        """What is kept now, by bucket, slash and name."""
        with self._lock:
            return {path: content for path, (content, _) in sorted(self._objects.items())}

    @property
    def requests(self) -> list[BucketRequest]:
        """All requests so far."""
        with self._lock:
            return [*self._asked]

    def put(self, path: str, content: bytes) -> None:
        """Keep an object, whatever was there before."""
        with self._lock:
            self._keep(path, content)

    def remove(self, path: str) -> None:
        """Remove an object."""
        with self._lock:
            del self._objects[path]

    def pass_time(self, seconds: float) -> None:
        """Have so many seconds go by: what is kept is older by them, and what comes later is not."""
        with self._lock:
            self._passed += seconds

    def wait_for(self, objects: int, *, timeout: float = 60.0) -> None:
        """Block until so many objects are kept; `TimeoutError` if they never are."""
        with self._lock:
            if not self._lock.wait_for(lambda: len(self._objects) >= objects, timeout):
                raise TimeoutError(f"{len(self._objects)} objects are kept, not {objects}, after {timeout} seconds.")

    # What is to go wrong.

    def fail(self, status: int = 503, *, times: int = 1, method: str | None = None) -> None:
        """Refuse the next requests, or the next of a method, with 503, 409 or 403; nothing of them is done."""
        self._plan(str(status), times, method)

    def lose_replies(self, *, times: int = 1, method: str | None = "PUT") -> None:
        """Do what the next requests ask for, and break off without an answer."""
        self._plan("lost reply", times, method)

    def lose_requests(self, *, times: int = 1, method: str | None = None) -> None:
        """Break off the next requests without doing anything."""
        self._plan("lost request", times, method)

    def misbehave(self, chance: float, *, seed: int = 0) -> None:
        """Let any of these befall each request from now on, with a chance."""
        with self._lock:
            self._chance, self._random = chance, random.Random(seed)  # noqa: S311 - the same

    def _plan(self, fault: str, times: int, method: str | None) -> None:
        with self._lock:
            self._faults.extend([_Planned(fault, method)] * times)

    def _fault(self, method: str) -> str | None:
        for planned in self._faults:
            if planned.method in {None, method}:
                self._faults.remove(planned)
                return planned.fault
        return self._random.choice(FAULTS) if self._chance and self._random.random() < self._chance else None

    # Answering.

    async def _handle(self, received: Received, wire: Wire) -> None:
        url = urlsplit(received.target)
        path = unquote(url.path).strip("/")
        # One lock: whatever is asked at once is done one after another.
        with self._lock:
            fault = self._fault(received.method)
            refused = fault is not None and fault.isdigit()
            reply = _error(int(fault or 0)) if refused else _Reply(0) if fault == "lost request" else None
            if reply is None:
                reply = self._answer(received, path, dict(parse_qsl(url.query, keep_blank_values=True)))
            self._asked.append(BucketRequest(received.method, path, reply.status))
        if fault in {"lost reply", "lost request"}:
            await wire.cut()
        else:
            await wire.whole(reply.status, reply.content, reply.headers)

    def _answer(self, received: Received, path: str, query: Mapping[str, str]) -> _Reply:
        bucket, _, name = path.partition("/")
        if self._buckets is not None and bucket not in self._buckets:
            return _error(404, "NoSuchBucket")
        return self._answer_about(received, path, query) if name else self._answer_of_bucket(received, bucket, query)

    def _answer_of_bucket(self, received: Received, bucket: str, query: Mapping[str, str]) -> _Reply:
        if received.method == "GET":
            return self._list(bucket, query)
        return self._delete_all(bucket, received) if "delete" in query else _error(501)

    def _answer_about(self, received: Received, path: str, query: Mapping[str, str]) -> _Reply:
        match received.method:
            case "PUT" if "x-amz-copy-source" in received.headers:
                return self._copy(unquote(received.headers["x-amz-copy-source"]).strip("/"), path)
            case "PUT" if "uploadId" not in query:
                return self._put(received, path)
            case "GET" | "HEAD" if "range" not in received.headers:
                return self._get(received.method, path)
            case "DELETE":
                self._objects.pop(path, None)
                return _Reply(204)
            case _:
                return _error(501)

    def _put(self, received: Received, path: str) -> _Reply:
        there = self._objects.get(path)
        is_new, matches = (received.headers.get(name) for name in ("if-none-match", "if-match"))
        if self._conditions and is_new == "*" and there is not None:
            return _error(412)
        if self._conditions and matches is not None and there is None:
            return _error(404)
        if self._conditions and matches is not None and there is not None and matches != _etag(there[0]):
            return _error(412)
        self._keep(path, received.content)
        return _Reply(200, b"", {"etag": _etag(received.content)})

    def _copy(self, source: str, path: str) -> _Reply:
        if source not in self._objects:
            return _error(404)
        self._keep(path, self._objects[source][0])
        told = f"<ETag>{escape(_etag(self._objects[path][0]))}</ETag><LastModified>{self._moment(path)}</LastModified>"
        return _Reply(200, f"<CopyObjectResult>{told}</CopyObjectResult>".encode(), {"content-type": "application/xml"})

    def _keep(self, path: str, content: bytes) -> None:
        self._objects[path] = content, time.time() + self._passed
        self._lock.notify_all()

    def _get(self, method: str, path: str) -> _Reply:
        if path not in self._objects:
            return _error(404)
        content, modified = self._objects[path]
        headers = {
            "etag": _etag(content),
            "last-modified": formatdate(modified, usegmt=True),
            "content-type": "application/octet-stream",
            "content-length": str(len(content)),
        }
        return _Reply(200, content if method == "GET" else b"", headers)

    def _list(self, bucket: str, query: Mapping[str, str]) -> _Reply:
        prefix, after = query.get("prefix", ""), query.get("continuation-token") or query.get("start-after", "")
        delimiter, most = query.get("delimiter", ""), min(PAGE, int(query.get("max-keys", PAGE)))
        names = [path[len(bucket) + 1 :] for path in sorted(self._objects) if path.startswith(f"{bucket}/")]
        names = [name for name in names if name.startswith(prefix) and name > after]
        page, folders = names[:most], dict[str, None]()
        contents: list[str] = []
        for name in page:
            below, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                folders[prefix + below + delimiter] = None
            else:
                contents.append(self._told(f"{bucket}/{name}", name))
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(names) > most else ""
        text = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>'
            f"<Name>{escape(bucket)}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<MaxKeys>{most}</MaxKeys><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}{''.join(contents)}"
            + "".join(f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in folders)
            + "</ListBucketResult>"
        )
        return _Reply(200, text.encode(), {"content-type": "application/xml"})

    def _told(self, path: str, name: str) -> str:
        content, _ = self._objects[path]
        return (
            f"<Contents><Key>{escape(name)}</Key><LastModified>{self._moment(path)}</LastModified>"
            f"<ETag>{escape(_etag(content))}</ETag><Size>{len(content)}</Size><StorageClass>STANDARD</StorageClass>"
            "</Contents>"
        )

    def _moment(self, path: str) -> str:
        return f"{datetime.fromtimestamp(self._objects[path][1], UTC):%Y-%m-%dT%H:%M:%S}.000Z"

    def _delete_all(self, bucket: str, received: Received) -> _Reply:
        names = [unescape(name.decode()) for name in _KEY.findall(received.content)]
        for name in names:
            self._objects.pop(f"{bucket}/{name}", None)
        told = "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in names)
        return _Reply(200, f"<DeleteResult>{told}</DeleteResult>".encode(), {"content-type": "application/xml"})


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _error(status: int, code: str = "") -> _Reply:
    text = f"<Error><Code>{code or _SAID[status]}</Code><Message>As planned.</Message></Error>"
    return _Reply(status, text.encode(), {"content-type": "application/xml"})
