"""Laws of the codec, over values that nobody thought of."""

import collections
import contextlib
import datetime as dt
import math
import struct

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import given, settings, strategies as st
from stored_types import Answer, Colour, Frozen, Open, Plain, Point, Reading, Row, Text, Verdict

from memollm._values.codec import Codec
from memollm._values.signing import Signer
from memollm.errors import RecordError, UncacheableResult

CODEC = Codec(signer=Signer(b"k" * 32))


def identical(one, other):
    """Compare two values bit by bit and type by type; written without the codec's own comparison."""
    return type(one) is type(other) and portrait(one) == portrait(other)


def portrait(value):
    """Describe a value in tuples of texts and types."""
    kind = type(value)
    if kind in (float, np.float64):
        return (kind, "nan" if math.isnan(value) else struct.pack("<d", value))
    if isinstance(value, dict):
        return (kind, [(portrait(key), portrait(item)) for key, item in value.items()])
    if isinstance(value, (set, frozenset)):
        return (kind, sorted(repr(portrait(item)) for item in value))
    if isinstance(value, (list, tuple, collections.deque)):
        return (kind, [portrait(item) for item in value])
    return (kind, details(value))


def details(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, complex):
        return (portrait(value.real), portrait(value.imag))
    if isinstance(value, dt.datetime):
        return (repr(value), value.fold, repr(value.tzinfo), type(value.tzinfo))
    return attributes(value) if type(value).__module__ == "stored_types" else repr(value)


def attributes(value):
    if isinstance(value, str):
        return str(value)
    named = getattr(value, "__dict__", None)
    if named is None:
        named = {
            name: getattr(value, name)
            for name in getattr(value, "__struct_fields__", value.__slots__)
            if name[0] != "_"
        }
    pydantic = [getattr(value, f"__pydantic_{name}__", None) for name in ("fields_set", "extra", "private")]
    return ([(name, portrait(named[name])) for name in sorted(named)], portrait(pydantic))


texts = st.text(st.characters(exclude_categories=()), max_size=8)
atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats(width=64)
    | texts
    | st.binary(max_size=8)
    | st.complex_numbers()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC) | st.timezones(), allow_imaginary=False)
    | st.sampled_from(Colour)
    | texts.map(Text)
    | st.just("$")
)
hashables = st.recursive(
    atoms,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
arrays = hnp.arrays(
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?")
    | hnp.unicode_string_dtypes(max_len=3),
    hnp.array_shapes(min_dims=0, max_side=3),
)


def objects(inner):
    return (
        st.builds(Answer, texts, inner, st.lists(inner, max_size=2))
        | st.builds(Frozen, inner)
        | st.builds(Reading, inner, inner)
        | st.builds(Row, texts, st.binary(max_size=4))
        | st.builds(Point, inner, inner)
        | st.builds(Plain, inner)
        | st.builds(Verdict, label=texts, why=st.lists(texts, max_size=2), extra=inner)
        | st.builds(Open, anything=inner, more=inner)
    )


def containers(inner):
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(texts | st.just("$"), inner, max_size=4)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.sets(hashables, max_size=3)
        | st.lists(inner, max_size=3).map(collections.deque)
        | objects(inner)
    )


values = st.recursive(atoms | arrays | st.binary(max_size=8).map(bytearray), containers, max_leaves=12)
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def check_round_trip(value):
    before = portrait(value)
    try:
        record = CODEC.encode(value, context=b"c")
    except UncacheableResult:
        return False
    back = CODEC.decode(record, context=b"c")
    assert identical(back, value)
    assert portrait(value) == before
    return True


@settings(deadline=None, max_examples=400)
@given(values)
def test_values_come_back_identical_or_are_refused(value):
    """Whatever is stored comes back with the same bits and types at every level."""
    check_round_trip(value)


@settings(deadline=None, max_examples=200)
@given(jsons)
def test_json_like_values_are_always_stored(value):
    """Values of JSON's own types, with all their odd numbers and texts, are never refused."""
    assert check_round_trip(value)


@settings(deadline=None, max_examples=200)
@given(hashables | arrays)
def test_builtin_values_are_always_stored(value):
    """Builtin values and arrays of numbers are never refused."""
    assert check_round_trip(value)


@settings(deadline=None, max_examples=100)
@given(values)
def test_records_are_deterministic_enough_to_decode_twice(value):
    """Two readings of one record are identical to one another."""
    try:
        record = CODEC.encode(value)
    except UncacheableResult:
        return
    assert identical(CODEC.decode(record), CODEC.decode(record))


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: b"J1:" + tail))
def test_arbitrary_bytes_give_an_error_of_ours(record):
    """No bytes make reading fail in a way that is not a RecordError."""
    with contextlib.suppress(RecordError):
        CODEC.decode(record)
