"""Records are signed by their user's key, and only trusted keys are believed."""

import hmac
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from models import PATIENCE, run
from stored_types import Answer

from memollm import Cache, replay
from memollm._draws import engine
from memollm._spending import prices
from memollm._values import signing as _signing
from memollm._values.codec import Codec
from memollm._values.signing import Signer, read_or_make_key
from memollm.errors import OptionError, UncacheableResult, UntrustedRecord

MINE, YOURS = "my key, long enough", "your key, long enough"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give the user a config folder of their own."""
    monkeypatch.delenv("MEMOLLM_SIGNING_KEY", raising=False)
    monkeypatch.setattr(_signing, "key_file", lambda: tmp_path / "config" / "signing.key")
    return tmp_path / "config"


def test_a_key_is_made_on_first_need_only(home):
    """A codec that never signs leaves no key behind; the first signature makes one."""
    codec = Codec()
    codec.decode(codec.encode({"a": (1, b"x")}))
    assert not home.exists()
    record = codec.encode(Answer("a"))
    assert (home / "signing.key").exists()
    assert Codec().decode(record) == Answer("a")


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_the_key_is_private(home):
    """Only the user can read the key and its folder, and no draft of it is left."""
    read_or_make_key(home / "signing.key")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "signing.key").stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == ["signing.key"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_key_that_others_can_reach_is_refused(home):
    """A key that anyone could have read proves nothing: records are neither signed nor believed."""
    record = Codec().encode(Answer("a"))
    (home / "signing.key").chmod(0o644)
    with pytest.raises(UntrustedRecord, match="chmod 600"):
        Codec().decode(record)
    with pytest.raises(UncacheableResult, match="chmod 600"):
        Codec().encode(Answer("a"))


@pytest.mark.parametrize("content", [b"", b"abc", b"zz" * 32, b"\xff" * 64, b"ab" * 31])
def test_a_damaged_key_is_refused(home, content):
    """A cut or changed key file is named, never signed with."""
    read_or_make_key(home / "signing.key")
    (home / "signing.key").write_bytes(content)
    with pytest.raises(OptionError, match=r"signing\.key is damaged"):
        Signer.of_user()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_config_folder_is_named(tmp_path, monkeypatch):
    """Where no key can be made, the result is not stored, and the message says why."""
    tmp_path.chmod(0o500)
    monkeypatch.setattr(_signing, "key_file", lambda: tmp_path / "config" / "signing.key")
    with pytest.raises(UncacheableResult, match="cannot be signed"):
        Codec().encode(Answer("a"))


def test_a_folder_where_a_file_should_be_is_named(home):
    """A config folder that cannot be one is reported as such, when writing and when reading."""
    home.write_text("a file")
    with pytest.raises(UncacheableResult, match="cannot be signed"):
        Codec().encode(Answer("a"))
    with pytest.raises(UntrustedRecord, match="cannot be checked"):
        Codec().decode(Codec(signer=Signer(MINE)).encode(Answer("a")))


RACER = """
import sys, time
from pathlib import Path
from memollm._values.signing import read_or_make_key
while time.time() < float(sys.argv[2]): pass
print(read_or_make_key(Path(sys.argv[1])).hex())
"""


def test_racing_processes_agree_on_one_key(tmp_path):
    """Many processes that need a key at the same moment end up with the same one."""
    import time

    start = time.time() + 0.7
    command = [sys.executable, "-c", RACER, str(tmp_path / "c" / "signing.key"), str(start)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    keys = {racer.communicate(timeout=30)[0].strip() for racer in racers}
    assert len(keys) == 1
    assert len(keys.pop()) == 64


def test_the_environment_shares_a_key(home, monkeypatch):
    """`MEMOLLM_SIGNING_KEY` takes the place of the file, and makes none."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", MINE)
    record = Codec().encode(Answer("a"))
    assert not home.exists()
    assert Codec(signer=Signer(MINE)).decode(record) == Answer("a")


def test_own_old_records_stay_trusted_when_a_key_is_shared(home, monkeypatch):
    """Taking a team's key does not disown the records that the user signed before."""
    record = Codec().encode(Answer("a"))
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", MINE)
    assert Codec().decode(record) == Answer("a")


def test_the_content_of_a_key_file_can_be_shared(home, monkeypatch):
    """A key copied from a key file into the environment is that same key."""
    record = Codec().encode(Answer("a"))
    content = (home / "signing.key").read_text()
    (home / "signing.key").unlink()
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", content + "\n")
    assert Codec().decode(record) == Answer("a")


@pytest.mark.parametrize("key", ["short", "x" * 15, "\udcff" * 20])
def test_a_key_that_could_be_guessed_is_refused(home, monkeypatch, key):
    """A short key, or one that is no text, is an error that shows how to make a good one."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", key)
    with pytest.raises(OptionError, match="MEMOLLM_SIGNING_KEY"):
        Signer.of_user()


def test_foreign_records_say_whose_they_are():
    """A record of another key names that key and one's own, and how to trust it."""
    record = Codec(signer=Signer(YOURS)).encode(Answer("a"))
    with pytest.raises(UntrustedRecord) as caught:
        Codec(signer=Signer(MINE)).decode(record)
    for part in (Signer(YOURS).key_id, Signer(MINE).key_id, "MEMOLLM_SIGNING_KEY"):
        assert part in str(caught.value)


def test_further_keys_can_be_trusted():
    """A signer believes the keys that it was told to trust, and signs with its own."""
    codec = Codec(signer=Signer(MINE, trusted=[YOURS]))
    assert codec.decode(Codec(signer=Signer(YOURS)).encode(Answer("a"))) == Answer("a")
    assert Codec(signer=Signer(MINE)).decode(codec.encode(Answer("a"))) == Answer("a")


def test_a_record_can_be_moved_by_who_trusts_it():
    """Signing again moves a record to another context and one's own key; the others cannot be moved."""
    theirs = Codec(signer=Signer(YOURS))
    record = theirs.encode(Answer("a"), context=b"old")
    moved = Codec(signer=Signer(MINE, trusted=[YOURS])).resign(record, context=b"old", new_context=b"new")
    assert Codec(signer=Signer(MINE)).decode(moved, context=b"new") == Answer("a")
    with pytest.raises(UntrustedRecord):
        Codec(signer=Signer(MINE)).resign(record, context=b"old", new_context=b"new")
    with pytest.raises(UntrustedRecord):
        theirs.resign(record, context=b"other", new_context=b"new")
    assert theirs.resign(theirs.encode("text"), context=b"a", new_context=b"b") == theirs.encode("text")


def test_keys_are_not_shown():
    """A signer's representation and its errors contain no key."""
    assert MINE not in repr(Signer(MINE)) + str(Signer(MINE).key_id)


@pytest.mark.parametrize("length", [16, 32, 64, 65, 200])
def test_a_signature_is_an_hmac(length):
    """Whatever the key's length, others can check a signature with what every language has."""
    key, message = bytes(range(length)), b"message " * 99
    signed = hmac.digest(key, message, "sha256").hex()[:32]
    assert Signer(key).sign(message).decode().split(":")[1] == signed


def test_threads_that_sign_at_once_trust_the_same_keys(home, monkeypatch):
    """What one of them is told to trust the codec trusts, also if another needs the signer for the first time."""
    codec, of_user, trusting = Codec(), Signer.of_user, []

    def meanwhile():
        made = of_user()
        if not trusting:
            trusting.append(pool.submit(codec.trust, YOURS))
            # It is done meanwhile, or waits for this one.
            wait(trusting, 0.5)
        return made

    monkeypatch.setattr(Signer, "of_user", meanwhile)
    with ThreadPoolExecutor(1) as pool:
        assert codec.decode(codec.encode(Answer("a"))) == Answer("a")
        trusting[0].result(PATIENCE)
    assert codec.decode(Codec(signer=Signer(YOURS)).encode(Answer("b"))) == Answer("b")


@pytest.mark.parametrize("kind", ["call", "stream", "gathered"])
def test_what_the_first_answer_needs_is_loaded_off_the_loop(cache, home, monkeypatch, kind):
    """P12: making the signing key, which syncs it to disk, and importing the prices keep no event loop waiting."""
    made, imported, threads = _signing.read_or_make_key, prices.load_library, {}

    def make(path):
        threads.setdefault("key", threading.get_ident())
        return made(path)

    def load():
        threads.setdefault("prices", threading.get_ident())
        imported()

    monkeypatch.setattr(_signing, "read_or_make_key", make)
    monkeypatch.setattr(engine, "load_library", load)

    @cache.cached_llm(version=1)
    async def ask(prompt):
        return Answer(prompt)

    @cache.cached_llm(version=1)
    async def tell(prompt):
        yield Answer(prompt)

    @cache.cached_llm(version=1, batch="prompts")
    async def gather(prompts):
        return [Answer(prompt) for prompt in prompts]

    async def main():
        used = {"call": ask, "stream": tell, "gathered": gather.one}[kind]
        if kind == "stream":
            assert [chunk async for chunk in used("a")] == [Answer("a")]
        else:
            assert await used("a") == Answer("a")

    run(main())
    assert (home / "signing.key").exists()
    assert set(threads) == {"key", "prices"}
    assert threading.get_ident() not in threads.values()


@pytest.mark.parametrize("how", ["draw", "several", "replay"])
def test_the_first_signed_sample_of_a_process_is_read_off_the_loop(tmp_path, home, monkeypatch, how):
    """P12: the key that a stored sample was signed with is read from the disk where no event loop waits for it."""

    async def ask(prompt):
        return Answer(prompt)

    with Cache(tmp_path / "cache") as cache:
        run(cache.cached_llm(ask, name="ask", version=1, namespace="n").draw(2, "a"))
    read, threads = _signing.read_or_make_key, []

    def noted(path):
        threads.append(threading.get_ident())
        return read(path)

    monkeypatch.setattr(_signing, "read_or_make_key", noted)
    with Cache(tmp_path / "cache") as cache:
        anew = cache.cached_llm(ask, name="ask", version=1, namespace="n" if how == "replay" else "other")
        monkeypatch.setattr(cache._engine.codec, "load_key", lambda: None)

        async def main():
            if how == "replay":
                with replay("n"):
                    return [await anew("a"), await anew("a")]
            return await anew.draw(2, "a") if how == "several" else [await anew("a"), await anew("a")]

        assert run(main()) == [Answer("a")] * 2
    assert len(threads) == 1
    assert threading.get_ident() not in threads
