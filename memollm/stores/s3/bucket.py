"""A bucket as what a cache asks of it: objects that are put where there is none, read and listed, and never changed."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

import obstore
from obstore import exceptions

from memollm._types.secret import veiled
from memollm.errors import StoreReadOnly, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from memollm.stores.s3.address import BucketAddress

T = TypeVar("T")
PAUSE_FIRST: Final = 0.05
PAUSE_LAST: Final = 2.0
"""Seconds between two attempts; the pause doubles."""
TIMEOUT: Final = "60s"
CONNECT_TIMEOUT: Final = "5s"
MEANWHILE: Final = " Samples stay on this machine, and are exchanged when that can be: memollm sync does so at once."
LONGEST_SAID: Final = 300
OF_ROLE: Final = "169.254.169.254"
"""Where a machine asks for the credentials of its role."""
NEXT_PAGE: Final = 1000
NOT_THERE: Final = FileNotFoundError
DENIED: Final = (exceptions.PermissionDeniedError, PermissionError)
REFUSED: Final = (*DENIED, exceptions.UnauthenticatedError)
FAULTS: Final = (exceptions.BaseError, OSError)
_list: Final = cast("Callable[..., Any]", obstore.list)  # pyright: ignore[reportUnknownMemberType]


class Listed(NamedTuple):
    """An object, as a bucket lists it."""

    name: str
    """Below the prefix."""
    size: int
    modified: float
    """When it was put, by the bucket's clock."""


class Bucket:
    """The objects below a prefix.

    The client repeats nothing by itself: what it had repeated after a lost answer would tell that somebody else had put
    the object. Here a body is put that no other is equal to, and what is there then says whose it is.
    """

    def __init__(self, address: BucketAddress, *, meanwhile: str = MEANWHILE) -> None:
        """`meanwhile` says what becomes of samples while the bucket takes none."""
        self.address = address
        self._meanwhile = meanwhile
        self._client: Any = None
        self._pid = os.getpid()

    def is_usable(self) -> bool:
        """Tell whether this process may ask: the client's threads are not those of a forked child."""
        return self._client is None or self._pid == os.getpid()

    def _opened(self) -> Any:
        if not self.is_usable():
            raise StoreUnavailable(
                f"{self.address.shown} cannot be asked by a forked process, whose parent has asked it. Let the parent "
                "exchange samples, or start the process by spawn or forkserver."
            )
        if self._client is None:
            self._client, self._pid = _client(self.address), os.getpid()
        return self._client

    def put(self, name: str, body: bytes, *, patience: float | None = None) -> bool:
        """Put an object where there is none; tell whether this one is there then, however often it was asked.

        The body must be one that nobody else puts.
        """

        def attempt() -> bool | None:
            try:
                obstore.put(self._opened(), name, body, mode="create", use_multipart=False)
            except (exceptions.AlreadyExistsError, FileExistsError):
                # So it is said of a conflict with another that then fails, too; what is there tells.
                there = self._get(name)
            except NOT_THERE as error:
                raise self._no_bucket() from error
            except DENIED as error:
                raise self._read_only(error) from error
            except FAULTS as error:
                if (there := self._get(name)) is None:
                    raise error from None
            else:
                return True
            return None if there is None else there == body

        return self._patiently(attempt, patience)

    def get(self, name: str, *, patience: float | None = None) -> bytes | None:
        """Read an object, if it is there."""
        # A list of one tells apart what is not there from what was not answered.
        return self._patiently(lambda: [self._get(name)], patience)[0]

    def _get(self, name: str) -> bytes | None:
        try:
            return bytes(obstore.get(self._opened(), name).bytes())
        except NOT_THERE:
            return None

    def names(self, folder: str, after: str, *, patience: float | None = None) -> list[str]:
        """List the objects of a folder whose names come after one, in their order."""

        def attempt() -> list[str]:
            pages = _list(self._opened(), prefix=folder, offset=f"{folder}/{after}", chunk_size=NEXT_PAGE)
            return sorted(each["path"].rpartition("/")[2] for page in pages for each in page)

        return [name for name in self._patiently(attempt, patience) if name > after]

    def listed(self, folder: str) -> Iterator[Listed]:
        """List the objects of a folder in the order of their names, those in folders below it, too."""
        page = self._page(folder, f"{folder}/")
        while page:
            yield from page
            page = self._page(folder, page[-1].name)

    def _page(self, folder: str, after: str) -> list[Listed]:
        def attempt() -> list[Listed]:
            pages = _list(self._opened(), prefix=folder, offset=after, chunk_size=NEXT_PAGE)
            found = sorted(Listed(each["path"], each["size"], _moment(each)) for each in next(iter(pages), ()))
            return [each for each in found if each.name > after]

        return self._patiently(attempt, None)

    def modified(self, name: str) -> float | None:
        """Tell when an object was put, by the bucket's clock, if it is there."""

        def attempt() -> list[float | None]:
            try:
                return [_moment(obstore.head(self._opened(), name))]
            except NOT_THERE:
                return [None]

        return self._patiently(attempt, None)[0]

    def copy(self, name: str, to: str) -> bool:
        """Put an object under another name as well, whatever stands there; tell whether there is one."""

        def attempt() -> bool:
            try:
                obstore.copy(self._opened(), name, to)
            except NOT_THERE:
                return False
            except DENIED as error:
                raise self._read_only(error) from error
            return True

        return self._patiently(attempt, None)

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects, a thousand at most, where they are there."""

        def attempt() -> bool:
            try:
                obstore.delete(self._opened(), names)
            except DENIED as error:
                raise self._read_only(error, "remove") from error
            return True

        if names:
            self._patiently(attempt, None)

    def _patiently(self, work: Callable[[], T | None], patience: float | None) -> T:
        """Do what is done once however often it is asked, until there is an answer or patience is at its end."""
        until = time.monotonic() + (self.address.patience if patience is None else patience)
        pause, failure = PAUSE_FIRST, None
        while True:
            try:
                done = work()
            except REFUSED as error:
                raise self._refused(error) from error
            except FAULTS as error:
                done, failure = None, error
                if _has_no_credentials(error):
                    raise self._no_credentials() from error
            if done is not None:
                return done
            if time.monotonic() + pause > until:
                raise self._unavailable(failure) from failure
            time.sleep(pause)
            pause = min(2 * pause, PAUSE_LAST)

    # What is said.

    def _no_bucket(self) -> StoreRefused:
        return StoreRefused(
            f"There is no bucket {self.address.bucket!r} for {self.address.shown}. Make it, or look at the spelling, "
            "at endpoint= and at region=."
        )

    def _read_only(self, error: Exception, right: str = "put") -> StoreReadOnly:
        return StoreReadOnly(
            f"{self.address.shown} takes nothing from this user: {_said(error)}. Ask for the right to {right} "
            f"objects there.{self._meanwhile}"
        )

    def _refused(self, error: Exception) -> StoreRefused:
        return StoreRefused(
            f"{self.address.shown} refuses this user: {_said(error)}. Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
            "and the rights to get, put and list objects there."
        )

    def _no_credentials(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.address.shown} cannot be asked: no AWS_ACCESS_KEY_ID is set, and this machine has no role (nothing "
            f"answers at {OF_ROLE}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.{self._meanwhile}"
        )

    def _unavailable(self, error: BaseException | None) -> StoreUnavailable:
        said = "it answers neither yes nor no" if error is None else _said(error)
        return StoreUnavailable(f"{self.address.shown} cannot be reached: {said}.{self._meanwhile}")


def _moment(told: Any) -> float:
    return float(told["last_modified"].timestamp())


def _has_no_credentials(error: BaseException) -> bool:
    """Tell whether the role was asked for, since no key is set, and there is none."""
    return OF_ROLE in str(error) and not os.environ.get("AWS_ACCESS_KEY_ID")


def _client(address: BucketAddress) -> Any:
    given: dict[str, Any] = {"endpoint": address.endpoint, "region": address.region}
    options: dict[str, Any] = {"timeout": TIMEOUT, "connect_timeout": CONNECT_TIMEOUT}
    if (address.endpoint or "").startswith("http://"):
        options["allow_http"] = True
    try:
        return obstore.store.S3Store(
            address.bucket,
            prefix=address.prefix or None,
            client_options=cast("Any", options),
            retry_config={"max_retries": 0},
            **{name: value for name, value in given.items() if value is not None},
        )
    except FAULTS as error:
        raise StoreRefused(f"{address.shown} cannot be used: {_said(error)}.") from error


def _said(error: BaseException) -> str:
    """Return what a failure says, in one line and without what only a programmer of the client wants to know."""
    text = str(error).partition("\n\nDebug source:")[0]
    return veiled(" ".join(text.split()).rstrip("."))[:LONGEST_SAID] or type(error).__name__
