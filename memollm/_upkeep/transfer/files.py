"""The files that content is moved by: packed as their names say, written whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
import secrets
import stat
import sys
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

GZIP: Final = b"\x1f\x8b"
UNBLOCKED: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
ZSTD: Final = b"\x28\xb5\x2f\xfd"
SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".jsonl.zst")
GZIP_LEVEL: Final = 6
LINE: Final = 64 << 20
"""How many bytes a line may have in any file,"""
PER_BYTE: Final = 16
"""and how many for each byte of a packed one: what is long in an export was packed before, and shrinks no further."""
LONGEST_LINE: Final = 1 << 30
WINDOW: Final = 1 << 27
"""How much memory unpacking may take, which a packed file asks for."""


class UnreadableFile(OptionError):
    """A file cannot be read, or holds something else than it should."""


@contextmanager
def written(path: Path) -> Generator[IO[bytes]]:
    """Write a file beside the path and put it there at the end; if it does not come to that, nothing has changed."""
    if not path.name.endswith(SUFFIXES):
        raise OptionError(f"{path}: the name of an export file ends in .jsonl, .jsonl.gz or .jsonl.zst.")
    # A link stays one: what it leads to is written.
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with ExitStack() as stack:
            # Prompts and answers are nobody else's business.
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            plain = stack.enter_context(os.fdopen(descriptor, "wb"))
            with _packing(plain, path.suffix) as file:
                yield file
            plain.flush()
            os.fsync(plain.fileno())
        draft.replace(target)
    except OSError as error:
        raise OptionError(
            f"{path} cannot be written: {error.strerror or error}. Choose a folder that exists, that you may write to "
            "and that has room."
        ) from error
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _packing(plain: IO[bytes], suffix: str) -> Generator[IO[bytes]]:
    if suffix == ".gz":
        # Neither a name nor a time: the same content makes the same bytes.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=plain, mtime=0) as file:
            yield file  # type: ignore[misc]  # It is as good a file as any.
    elif suffix == ".zst":
        with _zstd_packing(plain) as file:
            yield file
    else:
        yield plain


def lines_of(path: Path) -> Iterator[bytes]:
    """Read a file line by line; a line that is far larger than the file itself is refused before it is read whole."""
    with opened(path) as file:
        limit = min(LONGEST_LINE, max(LINE, PER_BYTE * path.stat().st_size))
        while line := file.readline(limit + 1):
            if len(line) > limit:
                raise UnreadableFile(
                    f"{path} holds a line of more than {limit >> 20:,} MB, which no export of its size has. It was "
                    "changed, or made to fill the memory, and nothing of it was loaded; export it again."
                )
            yield line


@contextmanager
def opened(path: Path) -> Generator[IO[bytes]]:
    """Read a file, unpacked whatever its name is."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | UNBLOCKED), "rb") as plain:
            _require_file(path, plain)
            magic = plain.read(len(ZSTD))
            plain.seek(0)
            if magic.startswith(GZIP):
                with gzip.GzipFile(fileobj=plain, mode="rb") as file:
                    yield file  # type: ignore[misc]  # The same.
            elif magic == ZSTD:
                with _zstd_unpacking(plain) as file:
                    yield file
            else:
                yield plain
    except FileNotFoundError as error:
        raise UnreadableFile(f"There is no file {path}. Look at the spelling, or make it with export.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableFile(f"{path} is cut short or damaged ({error}). Copy or export it again.") from error
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror or error}. Make it readable for you.") from error


def _require_file(path: Path, file: IO[bytes]) -> None:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise UnreadableFile(f"{path} is no file. Name a file that export has made.")


# Zstandard, by Python itself from 3.14 on, else by the package `zstandard`.


@contextmanager
def _zstd_packing(plain: IO[bytes]) -> Generator[IO[bytes]]:
    """Pack what is written."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        with zstd.ZstdFile(plain, mode="w") as file:
            yield file
    else:
        with _zstandard().ZstdCompressor().stream_writer(plain, closefd=False) as file:
            yield file


@contextmanager
def _zstd_unpacking(plain: IO[bytes]) -> Generator[IO[bytes]]:
    """Unpack what is read."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        # The limit of a window is that of the library, 128 MB.
        damage, file = zstd.ZstdError, zstd.ZstdFile(plain)
    else:
        package = _zstandard()
        reader = package.ZstdDecompressor(max_window_size=WINDOW).stream_reader(
            plain, read_across_frames=True, closefd=False
        )
        damage, file = package.ZstdError, io.BufferedReader(reader)
    try:
        with file:
            yield file
    except damage as error:
        raise UnreadableFile(f"The file is cut short or damaged ({error}). Copy or export it again.") from error


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise OptionError(
            "Files that end in .zst need the package zstandard, which is not installed. Install it with "
            "pip install 'memollm[zstd]', or take .jsonl.gz."
        ) from error
    return zstandard
