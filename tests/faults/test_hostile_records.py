"""Hostile and damaged records: nothing is run, nothing crashes, each says what is wrong with it."""

import base64
import pickle
import subprocess
import sys
import textwrap
import zlib

import msgspec
import numpy as np
import pytest
from xxhash import xxh3_64_hexdigest

from memollm._values.codec import Codec
from memollm._values.signing import Signer
from memollm.errors import DamagedRecord, RecordError, StaleRecord, UntrustedRecord


class Small(msgspec.Struct):
    a: int


class Odd:
    def __eq__(self, other):
        return type(other) is Odd

    __hash__ = object.__hash__


CODEC = Codec(signer=Signer(b"k" * 32))
CONTEXT = b"key of the call"
VALUES = {
    "json": {"answer": "Hello", "n": [1, 2.5, None]},
    "long json": "words " * 2_000,
    "tree": {"a": (1, b"raw", {2})},
    "array": np.arange(4, dtype="f4"),
    "class": Small(1),
    "long class": [Small(n) for n in range(300)],
    "pickle": Odd(),
    "long pickle": [Odd(), "words " * 2_000],
}
RECORDS = {name: CODEC.encode(value, context=CONTEXT) for name, value in VALUES.items()}


def framed(kind, rest):
    """Put a valid head before anything, as an attacker can."""
    check = xxh3_64_hexdigest(rest, int.from_bytes(kind, "big"))[:8].encode()
    return kind + b":" + check + b":" + rest


def read(record, context=CONTEXT):
    return CODEC.decode(record, context=context)


def test_every_form_is_attacked():
    """The corpus holds each form, compressed and not."""
    assert {record[:2] for record in RECORDS.values()} == {b"J1", b"j1", b"T1", b"C1", b"c1", b"P1", b"p1"}
    assert framed(b"J1", b'"x"') == CODEC.encode("x")


@pytest.mark.parametrize("name", RECORDS)
def test_a_flipped_bit_is_damage(name):
    """A record with any one bit flipped is damaged, whatever the bit stood for."""
    record = RECORDS[name]
    for position in range(len(record)):
        for bit in range(8):
            flipped = bytearray(record)
            flipped[position] ^= 1 << bit
            with pytest.raises(DamagedRecord):
                read(bytes(flipped))


@pytest.mark.parametrize("name", RECORDS)
def test_a_cut_or_lengthened_record_is_damage(name):
    """A record that ends early or late is damaged."""
    record = RECORDS[name]
    for end in range(len(record)):
        with pytest.raises(DamagedRecord):
            read(record[:end])
    with pytest.raises(DamagedRecord):
        read(record + b"\0")


def test_neighbours_of_damage_still_read():
    """One bad record is its own trouble only."""
    for bad in (b"", b"J1:", b"\0" * 100):
        with pytest.raises(DamagedRecord):
            read(bad)
        assert read(RECORDS["json"]) == VALUES["json"]


@pytest.mark.parametrize("record", [None, 5, "J1:text", [], b"C1:", memoryview(b"")])
def test_what_is_no_record_is_damage(record):
    """Whatever a foreign database holds in the column, the error is ours."""
    with pytest.raises(DamagedRecord):
        read(record)


@pytest.mark.parametrize("name", ["class", "long class", "pickle", "long pickle"])
def test_a_record_moved_to_another_call_is_untrusted(name):
    """A signed record speaks for its own call only."""
    for context in (b"", b"other", CONTEXT + b"x"):
        with pytest.raises(UntrustedRecord, match="copied from another call"):
            read(RECORDS[name], context)


def test_swapped_signatures_are_untrusted():
    """The signature of one record does not hold for another, nor for the same bytes as another kind."""
    one, other = RECORDS["class"], CODEC.encode(Small(2), context=CONTEXT)
    with pytest.raises(UntrustedRecord):
        read(framed(b"C1", one[12:54] + other[54:]))
    with pytest.raises(UntrustedRecord):
        read(framed(b"P1", one[12:]))
    with pytest.raises(UntrustedRecord):
        read(framed(b"c1", one[12:]))


@pytest.mark.parametrize("signature", [b"", b"x", b":" * 42, b"\xff" * 42, CODEC._own_signer().sign(b"other")])
def test_made_up_signatures_are_untrusted(signature):
    """Whatever stands where the signature should be, it is not believed."""
    with pytest.raises(UntrustedRecord):
        read(framed(b"P1", signature + RECORDS["pickle"][54:]))


def touching(path):
    class Touch:
        def __reduce__(self):
            return exec, (f"open({str(path)!r}, 'w')",)

    return pickle.dumps(Touch())


@pytest.mark.parametrize("key", [None, b"f" * 32])
def test_a_foreign_pickle_runs_nothing(tmp_path, key):
    """A pickle that would touch a file does not, unsigned or signed by a stranger."""
    body = b'{"python":null,"fields":{}}\n' + touching(tmp_path / "touched")
    rest = (Signer(key).sign(body) if key else b"") + body
    for kind in (b"P1", b"C1", b"T1", b"J1"):
        with pytest.raises(RecordError):
            read(framed(kind, rest))
    assert not (tmp_path / "touched").exists()


def test_a_foreign_class_imports_nothing(tmp_path, monkeypatch):
    """A class name in an unsigned or foreign record imports no module."""
    (tmp_path / "sideeffect.py").write_text(f"open({str(tmp_path / 'touched')!r}, 'w')\nclass A: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    nodes = [
        '{"$":"fields","c":"sideeffect:A","v":{}}',
        '{"$":"enum","c":"sideeffect:A","v":"X"}',
        '{"$":"model","c":"sideeffect:A","f":[],"v":{}}',
        '{"$":"pydantic","c":"sideeffect:A","v":{}}',
        '{"$":"registered","c":"sideeffect:A","v":1}',
    ]
    for node in nodes:
        for record in (framed(b"T1", node.encode()), framed(b"C1", Signer(b"f" * 32).sign(b"") + node.encode())):
            with pytest.raises(UntrustedRecord):
                read(record)
    assert "sideeffect" not in sys.modules
    assert not (tmp_path / "touched").exists()


def test_zip_bombs_do_not_go_off():
    """A small record that would unpack to much more than it says, or says too much, is damaged and costs no memory."""
    script = textwrap.dedent(
        """
        import resource, sys, zlib
        sys.path[:0] = sys.argv[1:]
        from test_hostile_records import bombs, read
        from memollm.errors import DamagedRecord
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for bomb in bombs():
            try:
                read(bomb)
            except DamagedRecord:
                continue
            raise SystemExit("it was read")
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
        """,
    )
    command = [sys.executable, "-c", script, *[path for path in sys.path if path]]
    grown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert int(grown) < 64


def bombs():
    packer = zlib.compressobj(9)
    zeros = b"".join([*(packer.compress(b"0" * (1 << 20)) for _ in range(300)), packer.flush()])
    for length in (
        b"0",
        b"10",
        b"1000",
        b"%d" % (300 << 20),
        b"99999999999999999999",
        b"-1",
        b"",
        b"1_0",
        b"\xc2\xb2",
        b"1" * 5_000,
    ):
        for kind in (b"j1", b"t1"):
            yield framed(kind, length + b":" + zeros)
    yield framed(b"j1", b"200000000:" + zlib.compress(b"0" * 100))


PACKED = zlib.compress(b"1" * 10)
UNTRUE = {
    "less": b"8:" + PACKED,
    "one less": b"9:" + PACKED,
    "one more": b"11:" + PACKED,
    "without its end": b"10:" + PACKED[:-1],
    "without its check": b"10:" + PACKED[:-4],
    "with something behind it": b"10:" + PACKED + b"x",
    "with another behind it": b"10:" + PACKED + PACKED,
}


@pytest.mark.parametrize("how", UNTRUE)
def test_what_unpacks_to_anything_else_than_announced_is_damage(how):
    """P8: a part of what was packed, though it can be read, is given out as no answer."""
    assert read(framed(b"j1", b"10:" + PACKED)) == 1_111_111_111
    with pytest.raises(DamagedRecord, match="does not unpack to"):
        read(framed(b"j1", UNTRUE[how]))


def node(text, blob=b""):
    return framed(b"T1", text.encode() + (b"\n" + blob if blob else b""))


ABSURD = {
    "huge array": node('{"$":"array","d":"<f8","s":[1000000000,1000000000],"n":8}', b"x" * 8),
    "huge empty": node('{"$":"array","d":"<U0","s":[10000],"n":0}'),
    "negative": node('{"$":"array","d":"<f8","s":[-1,-1],"n":8}', b"x" * 8),
    "wide": node('{"$":"array","d":"<f8","s":[0,9223372036854775807,9223372036854775807],"n":0}'),
    "dimensions": node('{"$":"array","d":"<f8","s":[' + ",".join("1" * 100) + '],"n":8}', b"x" * 8),
    "wide item": node('{"$":"array","d":"<U999999999999999999999","s":[1],"n":0}'),
    "bad shape": node('{"$":"array","d":"<f8","s":["1"],"n":8}', b"x" * 8),
    "no shape": node('{"$":"array","d":"<f8","n":8}', b"x" * 8),
    "objects": node('{"$":"array","d":"|O","s":[1],"n":8}', b"x" * 8),
    "bad dtype": node('{"$":"array","d":"os.system","s":[1],"n":8}', b"x" * 8),
    "long blob": node('{"$":"bytes","n":99999999999}', b"x"),
    "negative blob": node('{"$":"bytes","n":-1}', b"x"),
    "left over": node('{"$":"bytes","n":1}', b"xyz"),
    "unhashable": node('{"$":"set","v":[[]]}'),
    "unhashable key": node('{"$":"dict","v":[[[],1]]}'),
    "bad pair": node('{"$":"dict","v":[1]}'),
    "unknown tag": node('{"$":"exec","v":"x"}'),
    "tag is a list": node('{"$":[],"v":"x"}'),
    "tag is none": node('{"$":null}'),
    "no part": node('{"$":"tuple"}'),
    "bad int": node('{"$":"int","v":"zz"}'),
    "bad date": node('{"$":"date","v":"2024-99-99"}'),
    "huge time": node('{"$":"timedelta","v":[1e300,0,0]}'),
    "bad decimal": node('{"$":"decimal","v":"abc"}'),
    "bad text": node('{"$":"str","n":1}', b"\xff"),
    "no json": framed(b"J1", b"{nope"),
    "no utf-8": framed(b"J1", b'"\xff"'),
    "empty": framed(b"J1", b""),
    "two values": framed(b"J1", b"1 2"),
    "long number": framed(b"J1", b"9" * 10_000),
    "deep json": framed(b"J1", b"[" * 100_000 + b"]" * 100_000),
    "deep tree": node("[" * 50_000 + "]" * 50_000),
    "deep tuples": node('{"$":"tuple","v":[' * 900 + "]}" * 900),
    "not packed": framed(b"j1", b"5:hello"),
}


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_content_is_damage(name):
    """Nonsense behind a valid head is damage, at no cost."""
    with pytest.raises(DamagedRecord) as caught:
        read(ABSURD[name])
    assert len(str(caught.value)) > 20


def test_many_values_cannot_share_the_same_bytes():
    """Raw bytes are taken in turn, so that a short record cannot make a big value."""
    with pytest.raises(DamagedRecord):
        read(node("[" + ",".join(['{"$":"bytes","n":1000}'] * 1_000) + "]", b"x" * 1_000))


def test_a_newer_format_asks_for_an_upgrade():
    """A whole record of a form that is not known yet is stale, not damaged."""
    with pytest.raises(StaleRecord, match="upgrade"):
        read(framed(b"J2", b"whatever"))


def test_signed_nonsense_is_still_our_error():
    """What one's own older version signed, and is no longer understood, gives an error of ours."""
    for kind, body in [
        (b"C1", b"{"),
        (b"C1", b'{"$":"fields"}'),
        (b"C1", b'{"$":"fields","c":5,"v":{}}'),
        (b"C1", b'{"$":"fields","c":"os:system","v":{}}'),
        (b"C1", b'{"$":"fields","c":"nowhere:A","v":{}}'),
        (b"C1", b'{"$":"enum","c":"builtins:int","v":"x"}'),
        (b"C1", b'{"$":"pydantic","c":"builtins:int","v":{}}'),
        (b"C1", b'{"$":"model","c":"builtins:int","f":[],"v":{}}'),
        (b"C1", b'{"$":"other"}'),
        (b"P1", b""),
        (b"P1", b"{}\n"),
        (b"P1", b'{"python":null,"fields":{}}\nnot a pickle'),
        (b"P1", b'{"python":"2.7","fields":{}}\n' + pickle.dumps(1)),
        (b"P1", b'{"python":null,"fields":{}}\n' + b"cnowhere\nA\n."),
    ]:
        signed = CODEC._signed(kind, body, CONTEXT)
        with pytest.raises((StaleRecord, DamagedRecord)):
            read(framed(kind, signed))


def test_random_bytes_never_escape():
    """Random bytes behind a valid head of each kind give an error of ours or a value, and nothing else."""
    rng = np.random.default_rng(0)
    for _ in range(500):
        body = base64.b85encode(rng.bytes(int(rng.integers(0, 60))))
        for kind in (b"J1", b"j1", b"T1", b"t1", b"C1", b"c1", b"P1", b"p1", b"X1"):
            with pytest.raises(RecordError):
                read(framed(kind, b"\x01" + body))
