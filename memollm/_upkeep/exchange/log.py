"""The log: the numbered files of a bucket, which all machines read in one order, and whether a bucket is fit for it."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any, Final, Protocol

from memollm.errors import StoreRefused

HEAD: Final = "memollm.json"
FOLDER: Final = "log"
FORMAT: Final = 1
_NUMBERED: Final = re.compile(r"([0-9]{10})\.jsonl\.gz")


class Objects(Protocol):
    """What the log asks of a bucket."""

    def put(self, name: str, body: bytes, *, patience: float | None = None) -> bool:
        """Put an object where there is none; tell whether this one is there then, however often it was asked."""
        ...

    def get(self, name: str, *, patience: float | None = None) -> bytes | None:
        """Read an object, if it is there."""
        ...

    def names(self, folder: str, after: str, *, patience: float | None = None) -> list[str]:
        """List the objects of a folder whose names come after one, in their order."""
        ...


class Log:
    """Reads and adds files; `patience` says for how many seconds a request is repeated."""

    def __init__(self, bucket: Objects, shown: str) -> None:
        self._bucket = bucket
        self._shown = shown
        self.patience: float | None = None

    def identity(self) -> str | None:
        """Return by what this log is known, if there is one yet."""
        head = self._bucket.get(HEAD, patience=self.patience)
        return None if head is None else self._read_head(head)

    def make(self) -> str:
        """Begin the log where there is none, and refuse a bucket in which what is there could be overwritten."""
        if (identity := self.identity()) is None:
            self._bucket.put(HEAD, _new_head(), patience=self.patience)
            identity = self.identity()
        # To put it once more must be refused, in a way that a lost answer cannot be taken for.
        if identity is None or self._bucket.put(HEAD, _new_head(), patience=self.patience):
            raise StoreRefused(
                f"{self._shown} put an object over another, although it was asked to put it only where there is none "
                "(If-None-Match: *). Samples could be lost there. Use a server that holds to it, as S3 does."
            )
        return identity

    def _read_head(self, head: bytes) -> str:
        try:
            document: Any = json.loads(head)
            version, identity = int(document["format"]), str(document["id"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise StoreRefused(
                f"{self._shown} holds a {HEAD} that memollm has not written. Use another prefix."
            ) from error
        if version > FORMAT:
            raise StoreRefused(
                f"{self._shown} was written by a newer memollm (format {version}; this one knows {FORMAT}). Update "
                "memollm: pip install --upgrade memollm."
            )
        return identity

    def after(self, number: int) -> list[int]:
        """List the numbers of the files after one; refuse a log of which a file is missing."""
        names = self._bucket.names(FOLDER, _name(number), patience=self.patience)
        numbers = [int(found[1]) for name in names if (found := _NUMBERED.fullmatch(name))]
        for wanted, there in enumerate(numbers, number + 1):
            if there != wanted:
                raise StoreRefused(
                    f"{self._shown} lacks {FOLDER}/{_name(wanted)}, which somebody has removed: no file there is "
                    "ever to be. Restore it, or copy the cache of a machine that has read it to a new prefix: "
                    "memollm copy s3://OLD s3://NEW."
                )
        return numbers

    def read(self, number: int) -> bytes:
        """Read a file that is there."""
        body = self._bucket.get(f"{FOLDER}/{_name(number)}", patience=self.patience)
        if body is None:
            raise StoreRefused(f"{self._shown} lacks {FOLDER}/{_name(number)}, which it has listed. Try again.")
        return body

    def add(self, body: bytes, first: int) -> int:
        """Put a file at the end, which is at the number `first` or later; return its number."""
        number = first
        while not self._bucket.put(f"{FOLDER}/{_name(number)}", body, patience=self.patience):
            number += 1
        return number

    def shown(self, number: int) -> str:
        """Name a file."""
        return f"{self._shown}: {FOLDER}/{_name(number)}"


def _name(number: int) -> str:
    return f"{number:010d}.jsonl.gz"


def _new_head() -> bytes:
    return json.dumps({"memollm": "samples", "format": FORMAT, "id": secrets.token_hex(16)}).encode()
