"""Commands on a cache that machines share: whose key is missing, and where nothing was received yet."""

from __future__ import annotations

import pytest

pytest.importorskip("obstore")

AWAY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "MEMOLLM_SIGNING_KEY": ""}


@pytest.fixture
def shared(tmp_path):
    """Name a cache in a bucket that nobody answers for."""
    return f"s3://samples?endpoint=http://127.0.0.1:1&patience=0&local={tmp_path / 'near'}"


@pytest.mark.parametrize("command", ["ls", "stats"])
def test_a_new_machine_is_told_to_receive(memollm, shared, command):
    """Nothing is here yet, which says nothing of the bucket; who only looks is not asked for a key."""
    ran = memollm(command, "--cache", shared, **AWAY)
    assert ran.code == 0
    assert "nothing was received from the bucket: `memollm sync --down`" in ran.out + ran.err
    assert "MEMOLLM_SIGNING_KEY" not in ran.err


def test_a_missing_key_is_told_on_a_line_of_the_command(memollm, shared):
    """Who shares samples without a key reads one plain line, without the code that warned."""
    first, *_ = memollm("sync", "--cache", shared, **AWAY).err.splitlines()
    assert first.startswith("warning: The cache s3://samples")
    assert "MEMOLLM_SIGNING_KEY is not set" in first


def test_doctor_finds_that_a_key_is_missing(memollm, shared):
    """It is worth knowing, and nothing wrong."""
    out = memollm("doctor", "--cache", shared, **AWAY).out
    assert "~ signing key: the cache is shared, and MEMOLLM_SIGNING_KEY is not set" in " ".join(out.split())
