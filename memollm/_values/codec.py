"""Encoding and decoding: the forms in their order, the signature, and the errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from xxhash import xxh3_64_hexdigest

from memollm._types.locks import ForkedLock
from memollm._types.samples import is_atomic
from memollm._types.secret import said_by
from memollm._types.signals import pass_on
from memollm._values.classes import Registered, TypedWriter, read_classes
from memollm._values.frame import (
    ANEW,
    CLASSES,
    HEAD,
    JSON,
    JSON_HEAD,
    JSON_SEED,
    LARGE,
    PICKLE,
    SIGNATURE_LENGTH,
    SIGNED,
    TREE,
    framed,
    packed,
    unframed,
    unpacked,
    weight,
)
from memollm._values.same import Sameness
from memollm._values.tree import BUILT_IN, Reader, from_json, is_plain, to_json, too_deep
from memollm.errors import DamagedRecord, OptionError, RecordError, UncacheableResult, UntrustedRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._values.signing import Signer

T = TypeVar("T")

__all__ = ["Codec", "is_atomic"]


class Codec:
    """Turn values into records and back.

    A value is written in the first form that gives it back equal and of the same types: JSON text, tagged JSON (which
    may name classes, and is then signed), signed pickle. `pickle=False` leaves the last one out.
    """

    def __init__(self, *, signer: Signer | None = None, pickle: bool | Callable[[], bool] = True) -> None:
        self._signer = signer
        self._making = ForkedLock()
        self._pickle = pickle if callable(pickle) else lambda: pickle
        self._registry: dict[type, Registered] = {}
        self._names: dict[str, Registered] = {}

    def register(self, type_: type[T], *, name: str, encode: Callable[[T], object], decode: Callable[[Any], T]) -> None:
        """Store objects of exactly this type as what `encode` makes of them, under a name that stays when it moves."""
        if type_ in BUILT_IN:
            raise OptionError(f"{type_.__name__} is stored by memollm itself and cannot be registered")
        taken = self._names.get(name)
        if taken is not None and taken is not self._registry.get(type_):
            raise OptionError(f"the name {name!r} is taken by another type: choose a name of its own")
        self._registry[type_] = self._names[name] = Registered(name, encode, decode)

    def encode(self, value: object, context: bytes = b"") -> bytes:
        """Write a value; a signed record can only be read with the same `context`."""
        try:
            kind, body = self._as_json(value) or self._as_other(value)
        except UncacheableResult:
            raise
        except RecursionError as exc:
            raise too_deep("the result") from exc
        except Exception as exc:  # No memory left, or the value was changed meanwhile by another thread.
            pass_on(exc)
            raise UncacheableResult(f"the result cannot be stored: {_said_by(exc)}") from exc
        kind, rest = packed(kind, body)
        return framed(kind, self._signed(kind, rest, context))

    def decode(self, record: bytes, context: bytes = b"") -> Any:
        """Read a value, with new mutable parts. Nothing of an unsigned or foreign record is ever run."""
        try:
            if record.startswith(JSON_HEAD):
                text = record[HEAD:]
                # As `check` does, without a call of its own: no record is read more often than plain JSON.
                if record[3:HEAD] == b"%b:" % xxh3_64_hexdigest(text, JSON_SEED)[:8].encode():
                    return from_json(text)
            return self._read(*self._opened(record, context))
        except RecordError:
            raise
        except RecursionError as exc:
            raise DamagedRecord("the record is nested more deeply than can be followed here") from exc
        except Exception as exc:
            pass_on(exc)
            raise DamagedRecord(f"the record does not hold what was written: {_said_by(exc)}. {ANEW}") from exc

    def is_trusted(self, record: bytes, *, context: bytes) -> bool:
        """Check a record without reading its value: raise if its bytes or its signature do not fit.

        Of a record that a key unknown here has signed, nothing more can be told; it is not trusted.
        """
        kind, rest = unframed(record)
        if kind.upper() in SIGNED and not self._own_signer().knows(rest[:SIGNATURE_LENGTH]):
            return False
        self._verified(kind, rest, context)
        return True

    def opened(self, record: bytes, *, context: bytes = b"") -> tuple[bytes, bytes]:
        """Check a record as reading it would, and return its kind and its body, of which nothing is loaded."""
        try:
            return self._opened(record, context)
        except RecordError:
            raise
        except Exception as exc:
            pass_on(exc)
            raise DamagedRecord(f"the record does not hold what was written: {_said_by(exc)}. {ANEW}") from exc

    def _opened(self, record: bytes, context: bytes) -> tuple[bytes, bytes]:
        kind, rest = unframed(record)
        return kind.upper(), unpacked(kind, self._verified(kind, rest, context))

    def record_of(self, kind: bytes, body: bytes, context: bytes) -> bytes:
        """Write a record of a body that was read elsewhere, and is vouched for by whoever asks."""
        kind, rest = packed(kind, body)
        return framed(kind, self._signed(kind, rest, context))

    def resign(self, record: bytes, *, context: bytes, new_context: bytes) -> bytes:
        """Move a record to another context, signed by one's own key; it must be trusted as it is."""
        kind, rest = unframed(record)
        return framed(kind, self._signed(kind, self._verified(kind, rest, context), new_context))

    @staticmethod
    def _as_json(value: object) -> tuple[bytes, bytes] | None:
        if not is_plain(value):
            return None
        try:
            return JSON, to_json(value)
        except UnicodeEncodeError:  # A lone surrogate, which JSON text cannot hold.
            return None

    def _as_other(self, value: object) -> tuple[bytes, bytes]:
        for rung in (self._as_tree, self._as_pickle):
            try:
                kind, body = rung(value)
                if self._same(self._read(kind, body), value):
                    return kind, body
            except (UncacheableResult, RecursionError):
                raise
            except Exception as exc:  # noqa: BLE001 (a user's class may raise anything; the next form may hold it)
                pass_on(exc)
        raise UncacheableResult(
            f"the result, a {type(value).__qualname__}, would not come back equal and of the same types: return plain "
            "data, a dataclass or a pydantic model, or register its type with an encoder of your own",
        )

    def _as_tree(self, value: object) -> tuple[bytes, bytes]:
        writer = TypedWriter(self._registry, self._same)
        body = writer.write(value)
        return (CLASSES if writer.names_class else TREE), body

    def _as_pickle(self, value: object) -> tuple[bytes, bytes]:
        if not self._pickle():
            raise UncacheableResult(
                f"the result, a {type(value).__qualname__}, could be stored only by pickle, which is switched off "
                "(pickle=False): return plain data, a dataclass or a pydantic model, or register its type",
            )
        from memollm._values import pickled

        return PICKLE, pickled.dumps(value)

    def _read(self, kind: bytes, body: bytes) -> object:
        if kind == JSON:
            return from_json(body)
        if kind == TREE:
            return Reader(body).read()
        if kind == CLASSES:
            return read_classes(body, self._names)
        if not self._pickle():
            raise UntrustedRecord("the record is a pickle, and reading pickles is switched off (pickle=False)")
        from memollm._values import pickled

        return pickled.loads(body)

    @property
    def _same(self) -> Sameness:
        return Sameness({type_: entry.encode for type_, entry in self._registry.items()})

    def _signed(self, kind: bytes, rest: bytes, context: bytes) -> bytes:
        if kind.upper() not in SIGNED:
            return rest
        try:
            return self._own_signer().sign(_message(kind, rest, context)) + rest
        except (OSError, OptionError) as exc:
            raise UncacheableResult(f"the result names a class, and its record cannot be signed: {exc}") from exc

    def _verified(self, kind: bytes, rest: bytes, context: bytes) -> bytes:
        if kind.upper() not in SIGNED:
            return rest
        signature, signed = rest[:SIGNATURE_LENGTH], rest[SIGNATURE_LENGTH:]
        try:
            self._own_signer().verify(signature, _message(kind, signed, context))
        except (OSError, OptionError) as exc:
            raise UntrustedRecord(f"the record's signature cannot be checked, so it is not loaded: {exc}") from exc
        return signed

    def trust(self, key: bytes | str) -> None:
        """Read what the owner of another signing key signed, besides one's own."""
        self._own_signer().trust(key)

    def pseudonym(self, secret: str) -> str:
        """Return what stands for a secret: only who has the key of signatures can tell of which."""
        # No record begins so: what is returned here can never be the signature of one.
        signed = self._own_signer().sign(b"pseudonym:" + secret.encode("utf-8", "surrogatepass"))
        return signed.decode().rstrip(":").rpartition(":")[2]

    def is_heavy(self, record: bytes) -> bool:
        """Tell whether reading a record may take milliseconds: it is large, or its key is still on the disk."""
        return weight(record) > LARGE or (not self.has_key and record[:2].upper() in SIGNED)

    @property
    def has_key(self) -> bool:
        """Whether the key of signatures was read from the disk."""
        return self._signer is not None

    def load_key(self) -> None:
        """Have the key at hand, and make it if there is none."""
        self._own_signer()

    def _own_signer(self) -> Signer:
        return self._signer or self._make_signer()

    def _make_signer(self) -> Signer:
        """Make the signer on first need; of several threads that need it one does, so that all trust the same keys."""
        from memollm._values.signing import Signer

        with self._making:
            if self._signer is None:
                made = Signer.of_user()
                # Whoever has interrupted this thread may have made one, too.
                self._signer = self._signer or made
            return self._signer


def _said_by(error: Exception) -> str:
    return f"{type(error).__name__}: {said_by(error)}"


def _message(kind: bytes, rest: bytes, context: bytes) -> bytes:
    """Everything that a signature speaks for, so that nothing can be moved to where it was not signed."""
    return b"%b:%d:%b%b" % (kind, len(context), context, rest)
