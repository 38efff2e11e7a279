"""Rows of a SQLite file whose tables do not lead to them any more: each leaf page is read by itself.

The layout is that of https://www.sqlite.org/fileformat2.html, of which only what holds rows of tables is read here.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

    Row = tuple[Any, ...]
    Bytes = bytes | mmap

LEAF: Final = 0x0D
FILE_HEADER: Final = 100
LARGEST_PAGE: Final = 65536
READERS: Final = ("namespace:", "run:")
KEY_BYTES: Final = 16
INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
FIRST_BLOB: Final = 12


def stray_rows(data: Bytes) -> Iterator[tuple[str, Row]]:
    """Give every row that its shape tells the table of, out of pages that are not given up."""
    pages = Pages(data)
    for number in pages.in_use():
        for rowid, row in pages.rows(number):
            table = table_of(row)
            if table is not None:
                # An integer primary key stands outside its row.
                yield table, row if row[0] is not None else (rowid, *row[1:])


def table_of(row: Row) -> str | None:
    """Tell by the kinds of its values which table a row belongs to."""
    kinds: tuple[type, ...] = tuple(map(type, row[:4]))
    if kinds == (type(None), bytes, str, str) and len(row[1]) == KEY_BYTES:
        return "call"
    if kinds[:2] == (int, int) and kinds[2:] in {(float, bytes), (int, bytes)}:
        return "sample"
    if kinds[:2] == (type(None), str) and row[1].startswith(READERS):
        return "reader"
    return None


class Pages:
    """The pages of a file."""

    def __init__(self, data: Bytes) -> None:
        size = int.from_bytes(data[16:18], "big")
        self._size = LARGEST_PAGE if size == 1 else max(512, size)
        self._usable = self._size - data[20]
        self._data = data
        self._left = 2 * len(data)
        """How many bytes of rows may still be read: all of them are once in the file, unless it was made to hang us."""

    def in_use(self) -> list[int]:
        """List the pages that are not on the list of free ones, whose rows were removed."""
        free, trunk = set[int](), int.from_bytes(self._data[32:36], "big")
        while trunk and trunk not in free:
            free.add(trunk)
            page = self._page(trunk)
            trunk, count = struct.unpack_from(">II", page) if len(page) >= 8 else (0, 0)  # noqa: PLR2004 - two numbers
            leaves = page[8 : 8 + 4 * min(count, len(page) // 4 - 2)] if count else b""
            free.update(number for (number,) in struct.iter_unpack(">I", leaves))
        return [number for number in range(1, len(self._data) // self._size + 1) if number not in free]

    def _page(self, number: int) -> bytes:
        return self._data[(number - 1) * self._size : number * self._size]

    def rows(self, number: int) -> Iterator[tuple[int, Row]]:
        """Give the rows of a page, if it is a leaf of a table; damaged ones are passed over."""
        page, start = self._page(number), FILE_HEADER if number == 1 else 0
        if page[start] != LEAF:
            return
        cells = min(int.from_bytes(page[start + 3 : start + 5], "big"), self._size // 4)
        for cell in range(cells):
            at = int.from_bytes(page[start + 8 + 2 * cell : start + 10 + 2 * cell], "big")
            try:
                length, at = varint(page, at)
                rowid, at = varint(page, at)
                yield rowid, values_of(self._payload(page, at, length))
            except (IndexError, ValueError, struct.error):
                continue

    def _payload(self, page: bytes, at: int, length: int) -> bytes:
        self._left -= length
        if length > len(self._data) or self._left < 0:
            raise ValueError("rows longer than the file")
        largest, least = self._usable - 35, (self._usable - 12) * 32 // 255 - 23
        local = length
        if length > largest:
            local = least + (length - least) % (self._usable - 4)
            local = local if local <= largest else least
        parts, left = [page[at : at + local]], length - local
        after = int.from_bytes(page[at + local : at + local + 4], "big") if left else 0
        while left > 0:
            overflow = self._page(after) if after else b""
            if not overflow:
                raise ValueError("an overflow page is missing")
            parts.append(overflow[4 : 4 + min(left, self._usable - 4)])
            left -= self._usable - 4
            after = int.from_bytes(overflow[:4], "big")
        return b"".join(parts)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of one to nine bytes, and where it ends."""
    value = 0
    for step in range(8):
        value = value << 7 | data[at + step] & 0x7F
        if data[at + step] < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, at + step + 1
    return value << 8 | data[at + 8], at + 9


def values_of(payload: bytes) -> Row:
    """Read the values of a row."""
    end, at = varint(payload, 0)
    kinds: list[int] = []
    while at < end:
        kind, at = varint(payload, at)
        kinds.append(kind)
    values: list[Any] = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in {0, 8, 9}:
        return {0: None, 8: 0, 9: 1}[kind], at
    if kind == 7:  # noqa: PLR2004 - a float
        return struct.unpack_from(">d", payload, at)[0], at + 8
    size = INTEGERS[kind] if kind in INTEGERS else (kind - FIRST_BLOB) // 2
    part = payload[at : at + size]
    if kind in {10, 11} or len(part) != size:
        raise ValueError("a value is cut short")
    if kind in INTEGERS:
        return int.from_bytes(part, "big", signed=True), at + size
    return part if kind % 2 == 0 else part.decode("utf-8"), at + size
