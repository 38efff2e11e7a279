"""Zstandard, by Python itself from 3.14 on, else by the package `zstandard`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from memollm._transfer._files import UnreadableFile
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def compressing(plain: IO[bytes]) -> Generator[IO[bytes]]:
    """Pack what is written."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        with zstd.ZstdFile(plain, mode="w") as file:
            yield file
    else:
        with _package().ZstdCompressor().stream_writer(plain, closefd=False) as file:
            yield file


@contextmanager
def decompressing(plain: IO[bytes]) -> Generator[IO[bytes]]:
    """Unpack what is read."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        damage, file = zstd.ZstdError, zstd.ZstdFile(plain)
    else:
        import io

        package = _package()
        reader = package.ZstdDecompressor().stream_reader(plain, read_across_frames=True, closefd=False)
        damage, file = package.ZstdError, io.BufferedReader(reader)
    try:
        with file:
            yield file
    except damage as error:
        raise UnreadableFile(f"The file is cut short or damaged ({error}). Copy or export it again.") from error


def _package() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise OptionError(
            "Files that end in .zst need the package zstandard, which is not installed. Install it with "
            "pip install 'memollm[zstd]', or take .jsonl.gz."
        ) from error
    return zstandard
