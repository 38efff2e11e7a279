"""Secrets: by whatever way one comes in, it is in no file and in no message; and no two calls become one by that."""

from __future__ import annotations

import ast
import dataclasses
import functools
import gzip
import pickle
import re
import subprocess
import sys
from types import SimpleNamespace

import pydantic
import pytest
from hypothesis import given, strategies as st

from memollm import Cache, NotStoredWarning, OptionError, UncacheableResult, UnkeyableArgument
from memollm._keys.canonical import canonical, canonical_call
from memollm._keys.code.syntax import text
from memollm._types.secret import is_secret_name, is_secret_value, masked, veiled
from memollm._types.warn import warn
from memollm._values.codec import Codec
from tests.programs import clean_environment

# The shapes of providers, of a password in a URL, and one that is secret by its name alone.
MARKER = re.compile(rb"hush[0-9]|aHVzaD")
STUDY = """
import dataclasses, functools, logging, os, sys, typing, urllib.parse, warnings
import attrs, msgspec, openai_like, pydantic
import memollm
from memollm import cached_llm

logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
logging.getLogger("asyncio").setLevel(logging.WARNING)
warnings.simplefilter("always")
WAYS = []

def way(call):
    WAYS.append(call)
    return call

def plain(f):
    return way(cached_llm(f))

# Globals, read by name.
API_KEY = "hush10"
API_KEYS = {"openai": "hush11", "other": ["hush11b"]}
OPENAI_KEY = "hush12"
TOKEN = "sk-hush13-ABC"
HEADERS = {"Authorization": "Bearer hush14ABCDEF", "X-Api-Key": "hush14b", "accept": "json"}
PAIRS = [("Authorization", "hush15")]
NOTE = "call it with sk-proj-hush16ABCDEF please"
URL = "https://user:hush17@example.com/v1"
DSN = "https://hush18ABCDEF0123@example.com/v1"
QUERY = "https://example.com/v1?api_key=hush19ABC&x=1"
JWT = "eyJhbGciOiJI.eyJodXNoMjA" + ".hush20"
PASSWORD = "hush21xyz"
BASIC = "Basic aHVzaDIyOmh1c2gyMg=="
PEM = "-----BEGIN PRIVATE KEY-----\\nhush23\\n-----END PRIVATE KEY-----"
BYTES = b"sk-hush24-ABC"
STYLE = "STYLE-OF-NOW"

@dataclasses.dataclass
class Config:
    api_key: str = "hush25"
    style: str = STYLE
    headers: dict = dataclasses.field(default_factory=lambda: {"authorization": "hush25b"})

@attrs.define
class AttrsConfig:
    access_token: str = "hush26"
    base: str = "https://user:hush26b@example.com"

class Settings(pydantic.BaseModel):
    model_config = {"protected_namespaces": ()}
    api_key: str = "hush27"
    hidden: pydantic.SecretStr = pydantic.SecretStr("hush27b")
    token: str = "hf_hush27cABCDEFGHIJKL"

class Struct(msgspec.Struct):
    auth_token: str = "hush28"

class Slots:
    __slots__ = ("api_key",)
    def __init__(self):
        self.api_key = "hush29"
    def __memollm_key__(self):
        return {"api_key": self.api_key, "note": "sk-hush29b-ABC"}

class Inline:
    api_key = "hush30"
    style = STYLE

CONFIG, ATTRS, SETTINGS, STRUCT, SLOTS = Config(), AttrsConfig(), Settings(), Struct(), Slots()
MIXED = {"lock": logging, "api_key": "hush31", "inner": [{"client_secret": "hush31b"}], "url": URL, "t": TOKEN}

@plain
def reads_globals(q):
    return f"{STYLE} {len(q)}", [
        API_KEY, API_KEYS, OPENAI_KEY, TOKEN, HEADERS, PAIRS, NOTE, URL, DSN, QUERY, JWT, PASSWORD, BASIC, PEM, BYTES,
        CONFIG, ATTRS, SETTINGS, STRUCT, SLOTS, Inline, MIXED, Config, AttrsConfig, Settings, Struct,
    ][:0]

# Code.
@plain
def in_code(q, *, api_key="hush32", token="sk-hush33-ABC", password="hush34xyz"):
    api_key = "hush35"
    openai_like.api_key = "hush36"
    headers = {"Authorization": f"Bearer hush37{q}", "X-Api-Key": "hush38"}
    headers["Authorization"] = "hush39"
    default = os.environ.get("ANYTHING", "sk-hush40-ABC") + os.environ.get("OPENAI_API_KEY", "hush41")
    os.environ.setdefault("SOME_API_KEY", "hush42")
    setattr(openai_like, "api_key", "hush43")
    base = f"https://user:hush44@{q}/v1"
    body = {"api_key": "hush45", "inner": {"access_token": "hush46"}, "text": "my key is sk-hush47-ABC"}
    model, hf_token = "m", "hush48"
    helper(q)
    class Local:
        secret_access_key: str = "hush49"
    return STYLE

def helper(q, auth_token="hush50"):
    if (client_secret := "hush51"):
        return get_api_key() + STYLE

def get_api_key():
    return "hush52"

# Arguments.
@cached_llm
def ask(prompt, *, token=None, secret=None, password=None, credentials=None, access_token=None, auth_token=None,
        hf_token=None, apikey=None, apiKey=None, api_key=None, extra_headers=None, extra_body=None, config=None,
        tools=None, **options):
    return {"style": STYLE, "length": len(str(prompt))}

class Box:
    def __init__(self, **items):
        self.__dict__.update(items)
    def __memollm_key__(self):
        return self.__dict__

ARGUMENTS = [
    dict(token="sk-hush53-ABC"), dict(secret="hush54xyz"), dict(password="hush55xyz"),
    dict(credentials={"user": "me", "password": "hush56xyz"}), dict(access_token="hush57"), dict(auth_token="hush58"),
    dict(hf_token="hush59"), dict(apikey="hush60"), dict(apiKey="hush61"), dict(api_key="hush62"),
    dict(extra_headers={"Authorization": "Bearer hush63"}), dict(extra_headers=[("X-API-Key", "hush64")]),
    dict(extra_body={"a": [{"b": {"api_key": "hush65"}}]}), dict(config=Config()), dict(config=AttrsConfig()),
    dict(config=Settings()), dict(config=Struct()), dict(config=Config), dict(config=Settings),
    dict(config=Box(api_key="hush66", url="redis://:hush67@there")), dict(options={"openai_api_key": "hush68"}),
    dict(anything="sk-hush69-ABC"), dict(**{"x-api-key": "hush70"}), dict(config={"sk-hush71-ABC": 1}),
    dict(config=functools.partial(helper, api_key="hush72")), dict(config=pydantic.SecretStr("hush73")),
    dict(config=b"sk-hush74-ABC"), dict(config={("a", "b"): "sk-hush75-ABC", "api_key": "hush76"}),
    dict(config=URL), dict(config={"sk-hush77-ABC", "x"}), dict(token="hf_hush78ABCDEFGHIJKL"), dict(config=[PEM, JWT]),
    dict(tools=[{"parameters": {"properties": {"api_key": {"type": "string", "default": "hush79"}}}}]),
]
for arguments in ARGUMENTS:
    way(functools.partial(ask, **arguments))
way(lambda q: ask(f"{q} AKIAHUSH80ABCDEFGHIJ sk-hush80-ABC"))

# Partials, closures, methods.
def base(q, api_key="", token="", url=""):
    return STYLE

way(cached_llm(functools.partial(base, api_key="hush81", token="sk-hush82-ABC", url="http://u:hush83@h")))

def made(api_key, url):
    @cached_llm
    def inner(q):
        return [api_key, url][:0] + [STYLE]
    return inner

way(made("hush84", "http://u:hush85@h"))

class Agent:
    def __init__(self):
        self.api_key, self.token = "hush86", "sk-hush87-ABC"
    def __memollm_key__(self):
        return vars(self)
    @cached_llm
    def ask(self, q):
        return [self.api_key][:0] + [STYLE]

way(Agent().ask)

# Results: a secret that comes back, as it is or inside something.
class Answer(pydantic.BaseModel):
    text: str
    key: pydantic.SecretStr
    @pydantic.field_serializer("key")
    def reveal(self, value):
        return value.get_secret_value()

@plain
def returns_secret(q):
    return pydantic.SecretStr("hush88")

@plain
def returns_model(q):
    return Answer(text=STYLE, key=pydantic.SecretStr("hush89"))

# Errors and warnings of ours that could tell what they were given.
@plain
def returns_hostile(q):
    class Hostile:
        def __reduce__(self):
            raise ValueError(f"no pickling with {dict(api_key='hush90')} and sk-hush91-ABC")
    return Hostile()

@way
def unkeyable(q):
    ask(q, config={"sk-hush92-ABC": object()})

@way
def misused(q):
    cached_llm(functools.partial(base, api_key="hush93"), ignore=("nothing",))

@way
def misplaced(q):
    ask(q, q, api_key="hush94")

@way
def decorated_twice(q):
    cached_llm(cached_llm(functools.partial(base, api_key="hush95")))

@way
def shown(q):
    print(repr(cached_llm(functools.partial(base, api_key="hush96"))))

@way
def placed(q):
    memollm.Cache("mongodb://me:hush97@there/0")

def main():
    for call in WAYS:
        try:
            call("a question")
            if hasattr(call, "explain"):
                call.explain("a question")
                call.explain("another question")
        except Exception as error:
            print(type(error).__name__, error)
    for arguments in ARGUMENTS:
        ask.explain("another question", **arguments)
    with memollm.mode("offline"):
        try:
            ask("a third question", token="sk-hush98-ABC", extra_headers={"authorization": "hush99"})
        except memollm.CacheMiss as error:
            print(error)

if __name__ == "__main__":
    main()
"""
COMMANDS = [
    ["ls", "--full"],
    ["ls", "--json"],
    ["functions"],
    ["functions", "study.in_code", "--json"],
    ["functions", "study.in_code", "--diff", "previous", "latest"],
    ["functions", "study.reads_globals", "--diff", "previous", "latest"],
    ["stats"],
    ["report", "report.html"],
    ["export", "all.jsonl"],
    ["export", "all.jsonl.gz"],
    ["doctor"],
    ["doctor", "--json"],
    ["verify"],
]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Run the program, edit it, run it again and look at all of it; give the folder and everything that was said."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "pyproject.toml").touch()
    (folder / "openai_like.py").write_text("api_key = 'hush98'\n", encoding="utf-8")
    environment = clean_environment() | {"XDG_CONFIG_HOME": str(folder / "config")}
    heard = []

    def run(*command, ok=True):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=120,
            check=False,
        )
        heard.append(done.stdout + done.stderr)
        assert not ok or done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    for style in ("STYLE-OF-NOW", "STYLE-OF-THEN"):
        # Along with the style, all secrets change, as when a key is rotated.
        edited = STUDY.replace("STYLE-OF-NOW", style)
        (folder / "study.py").write_text(edited if style.endswith("NOW") else edited.replace("hush", "hush0"))
        run("study.py")
    keys = re.findall(r'"key": "([0-9a-f]+)"', run("-m", "memollm", "ls", "--json"))
    assert len(keys) > 40
    for command in COMMANDS:
        run("-m", "memollm", *command, ok=command[0] != "doctor")
    run("-m", "memollm", "show", "sk-hush97-ABC", ok=False)
    run("-m", "memollm", "forget", "--yes", "redis://me:hush97@there/0", ok=False)
    for key in keys[:: len(keys) // 8]:
        run("-m", "memollm", "show", key, "--full")
    return folder, b"\n".join(heard)


def test_a_secret_is_in_no_file_of_the_cache_and_in_none_made_of_it(said):
    """By more than 90 ways a secret comes in; database, log, catalog, export and report hold none of them."""
    folder, _ = said
    assert len(set(re.findall(r"hush\d+", STUDY))) > 80
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}]
    assert {path.name for path in files} >= {"memollm.db", "report.html", "all.jsonl", "all.jsonl.gz"}
    contents = {path: path.read_bytes() for path in files}
    contents = {path: gzip.decompress(c) if path.suffix == ".gz" else c for path, c in contents.items()}
    assert {path.name: MARKER.findall(content) for path, content in contents.items() if MARKER.search(content)} == {}
    assert any(b"STYLE-OF-THEN" in content for content in contents.values())


def test_a_secret_is_in_nothing_that_is_said(said):
    """Warnings, errors, events, the log, `.explain` and every command say their piece without one."""
    _, heard = said
    assert [line for line in heard.splitlines() if MARKER.search(line)] == []
    for expected in (
        b"has changed, so it draws new samples",
        b"UnkeyableArgument",
        b"Nothing is stored",
        b"hit: 1 stored",
    ):
        assert expected in heard


# No false hit by it.

SCHEMA = {"parameters": {"properties": {"api_key": {"type": "string", "description": "Whose account it is"}}}}
TWO = [
    ({"token": "cat"}, {"token": "dog"}),
    ({"token": "sk-abcd1234EFGH"}, {"token": "sk-abcd1234EFGI"}),
    ({"password": "hunter2"}, {"password": "hunter3"}),
    ({"secret": None}, {"secret": "None"}),
    ({"max_tokens": 5}, {"max_tokens": 6}),
    ({"openai_tokens": 5}, {"openai_tokens": 6}),
    ({"api_key": "a"}, {}),
    ({"api_key": 1}, {"api_key": 2}),
    ("sk-abcd1234EFGH", "sk-abcd1234EFGI"),
    ("a sk-abcd1234EFGH", "b sk-abcd1234EFGH"),
    ("sk-abcd1234EFGH", b"sk-abcd1234EFGH"),
    ("http://me:one@there", "http://me:two@there"),
    (canonical("sk-abcd1234EFGH"), "sk-abcd1234EFGH"),
    (ast.literal_eval(canonical("sk-abcd1234EFGH")), "sk-abcd1234EFGH"),
    ({"!secret": None}, {"api_key": "a"}),
    ({"api_key": {"!secret": None}}, {"api_key": "a"}),
    ({"sk-abcd1234EFGH": 1}, {"sk-abcd1234EFGI": 1}),
    ({"sk-abcd1234EFGH": 1, "a": 2}, {canonical("sk-abcd1234EFGH"): 1, "a": 2}),
    (SCHEMA, ast.literal_eval(repr(SCHEMA).replace("Whose", "Which"))),
    ([("api_key", "to open the door")], [("api_key", "to close the door")]),
    (["authorization", "granted"], ["authorization", "refused"]),
    ({"key": "C major"}, {"key": "D minor"}),
    ({"credentials": {"user": "ann1234"}}, {"credentials": {"user": "bob1234"}}),
]
"""Arguments that are two, though a secret, or what looks like one, is in them."""
ONE = [
    ({"api_key": "a"}, {"api_key": "b"}),
    ({"api_key": None}, {"api_key": "b"}),
    ({"Authorization": "Bearer a"}, {"Authorization": "Bearer b"}),
    ({"x-api-key": b"a"}, {"x-api-key": b"b"}),
    ({"API_KEYS": ["a", "b"]}, {"API_KEYS": ["c"]}),
    ({1: 2, "apiKey": "a"}, {1: 2, "apiKey": "b"}),
    (SimpleNamespace(access_token="a"), SimpleNamespace(access_token="b")),
    ({"api_key": pydantic.SecretStr("a")}, {"api_key": pydantic.SecretStr("b")}),
]
"""Arguments that differ in nothing but what is never keyed."""


@pytest.mark.parametrize(("one", "other"), TWO, ids=repr)
def test_what_may_be_meant_is_told_apart(one, other):
    """P8: a value that looks secret is written as a digest, and counts; so does what only sounds like a secret."""
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(("one", "other"), ONE, ids=repr)
def test_what_can_only_be_a_secret_does_not_count(one, other):
    """A key that is changed, or missing where samples are only replayed, does not make another call."""
    assert canonical(one) == canonical(other)


NAMES = st.sampled_from(["token", "password", "key", "a", "sk-abcd1234EFGH", "!masked", "credentials", "cookies"])
TEXTS = st.sampled_from(
    ["cat", "dog", "sk-abcd1234EFGH", "x sk-abcd1234EFGH", "http://u:p@h", "hunter2", "", '{"!masked":["","a"]}', "é"]
)
VALUES = st.recursive(
    TEXTS | st.integers(0, 3) | st.none() | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES, inner, max_size=3)
        | st.tuples(TEXTS, inner)
        | st.dictionaries(st.integers(0, 2) | NAMES, inner, max_size=3)
    ),
    max_leaves=8,
)


def exact(value):
    """Write a value so that it is told from every other, without any of ours."""
    if isinstance(value, dict):
        return ("dict", frozenset((exact(key), exact(item)) for key, item in value.items()))
    return (type(value), tuple(map(exact, value)) if isinstance(value, (list, tuple)) else value)


@given(VALUES, VALUES)
def test_two_values_are_two_whatever_is_hidden_in_them(one, other):
    """P8: as long as no name is unmistakable, texts are equal exactly when values are."""
    assert (canonical(one) == canonical(other)) == (exact(one) == exact(other))


def test_a_text_without_a_secret_is_what_it_was():
    """P9: names and shapes change nothing in the text of what is not secret."""
    value = {"token": "cat", "a": ["key", "C major"], "max_tokens": 3, "text": "my task-list: see http://there/a@b"}
    assert canonical(value) == (
        '{"a":["key","C major"],"max_tokens":3,"text":"my task-list: see http://there/a@b","token":"cat"}'
    )
    assert canonical_call({"name": "f"}, {"token": "cat"}).endswith('"arguments":{"token":"cat"}}')


def test_what_is_hidden_is_readable_around_it():
    """Of a text only the secret is a digest."""
    assert canonical({"Authorization": "Bearer x"}) == '{"Authorization":{"!secret":null}}'
    assert re.fullmatch(r'{"!masked":\["Use ","[0-9a-f]{32}"," please"\]}', canonical("Use sk-abcd1234EFGH please"))


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "apikey",
        "apiKey",
        "X-Api-Key",
        "API_KEYS",
        "OPENAI_KEY",
        "OPENAI_API_KEY_2",
        "Authorization",
        "Proxy-Authorization",
        "access_token",
        "auth_token",
        "hf_token",
        "HF_TOKEN",
        "client_secret",
        "Ocp-Apim-Subscription-Key",
        "aws_secret_access_key",
        "DB_PASSWORD",
    ],
)
def test_names_that_can_mean_nothing_else(name):
    """However it is spelt, the name of a credential is one."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "max_tokens",
        "eos_token",
        "openai_tokens",
        "secret",
        "password",
        "credentials",
        "key",
        "keyword",
        "monkey",
        "author_key",
        "auth",
        "prompt",
        "api_key_name",
        "secret_key",
        "private_key",
        "session_token",
        "authorized",
        "tokens_used",
        "vertex_key",
        "claude_secret",
    ],
)
def test_names_that_may_mean_something_else(name):
    """P8: what a prompt could be about is no secret by its name alone."""
    assert not is_secret_name(name)


RUN = "abcdefghijklmnopqrst0123456789ABCDEFGHIJKLMNOP"
PREFIXES = """
    sk-ant-api03- sk-proj- sk_live_ rk_test_ gsk_ r8_ sk_ pcsk_ fw_ tgp_v1_ jina_ e2b_ npm_ gho_ github_pat_ lsv2_pt_
    xai- pplx- nvapi- tvly- csk- glpat- pa- xoxp- AIza ya29.
"""
KEYS = [
    *[prefix + RUN for prefix in PREFIXES.split()],
    f"eyJhbGciOiJIUzI1NiJ9.{RUN}.{RUN}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{RUN}\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("sk-abcd1234EFGH", "#"),
        ("hf_abcdefghijklmnopQRST", "#"),
        ("ghp_abcdefghijklmnopqrst0123", "#"),
        ("xoxb-1234567890-abc", "#"),
        ("AKIAIOSFODNN7EXAMPLE", "#"),
        ("Bearer abcd1234efgh", "Bearer #"),
        ("postgres://me:pw@db/x", "postgres://me:#@db/x"),
        ("https://0123456789abcdef@sentry.example/1", "https://#@sentry.example/1"),
        ("https://there/v1?key=abcdef123&x=1", "https://there/v1?key=#&x=1"),
        ("scikit is sk-learn, a task-force-of-Seven", None),
        ("https://medium.example/@user and me@there.example", None),
        *[(each, "#") for each in KEYS],
        ("Basic dXNlcjpwYXNzd29yZA==", "Basic #"),
        ("Basic understanding of a Bearer token", None),
        ("hf_transformers_library", None),
    ],
)
def test_shapes(value, shown):
    """The keys of providers and passwords in URLs are known by their shape, and what merely begins so is not."""
    assert masked(value, lambda _: "#") == (shown or value)
    assert is_secret_value(value) == (shown is not None)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('f(api_key="a")', 'f(api_key="b")', True),
        ('{"Authorization": f"Bearer a{x}"}', '{"Authorization": f"Bearer b{x}"}', True),
        ('model, api_key = "m", "a"', 'model, api_key = "m", "b"', True),
        ('model, api_key = "m", "a"', 'model, api_key = "n", "a"', False),
        ('token = "cat"', 'token = "dog"', False),
        ('token = "sk-abcd1234EFGH"', 'token = "sk-abcd1234EFGI"', False),
        ('f("api_key", "to open")', 'f("api_key", "to close")', False),
        ('{"api_key": {"description": "Whose"}}', '{"api_key": {"description": "Which"}}', False),
        ("f(api_key=1)", "f(api_key=2)", False),
    ],
)
def test_secrets_in_code(one, other, same):
    """P8: a changed key is no changed code, and a changed text is."""
    texts = [text(ast.parse(code).body[0]) for code in (one, other)]
    assert (texts[0] == texts[1]) == same
    assert not any(re.search("sk-|Bearer", each) for each in texts)


# What comes back.


@dataclasses.dataclass
class Holding:
    key: pydantic.SecretStr


@pytest.mark.parametrize(
    "secret",
    [
        pydantic.SecretStr("x"),
        [pydantic.SecretBytes(b"x")],
        Holding(pydantic.SecretStr("x")),
        {1: pydantic.SecretStr("x")},
    ],
    ids=repr,
)
def test_a_secret_that_comes_back_is_returned_and_not_stored(secret, tmp_path):
    """A function's result that hides its content is not written down, and a warning says how to store the rest."""
    with Cache(tmp_path) as cache:
        ask = cache.cached_llm(pool=1)(lambda prompt: secret)
        with pytest.warns(NotStoredWarning, match="is a secret .* and is not written down"):
            assert ask("x") == secret
        assert ask.peek("x") == []


def test_what_a_model_says_is_the_users(tmp_path):
    """P7: an answer is stored as it was, whatever it looks like."""
    with Cache(tmp_path) as cache:
        ask = cache.cached_llm(lambda prompt: {"api_key": "sk-abcd1234EFGH", "text": "Bearer abcd1234efgh"})
        assert ask("x") == ask.peek("x")[0] == {"api_key": "sk-abcd1234EFGH", "text": "Bearer abcd1234efgh"}


def test_a_type_that_is_registered_is_stored():
    """Who says how a secret is to be written has decided that it is."""
    codec = Codec()
    codec.register(pydantic.SecretStr, name="s", encode=lambda s: s.get_secret_value(), decode=pydantic.SecretStr)
    assert codec.decode(codec.encode(pydantic.SecretStr("x"))) == pydantic.SecretStr("x")
    with pytest.raises(UncacheableResult, match="is a secret"):
        codec.encode(pydantic.SecretBytes(b"x"))


# Messages.


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("f(api_key='abc', model='m')", "f(api_key='<secret>', model='m')"),
        ("{'Authorization': 'x y', 'token': 'cat'}", "{'Authorization': '<secret>', 'token': 'cat'}"),
        ("input_value='sk-abcd1234EFGH', input_type=str", "input_value='<secret>', input_type=str"),
        ("cannot reach redis://me:pw@there/0", "cannot reach redis://me:<secret>@there/0"),
        ("nothing: 'to see', here=3", "nothing: 'to see', here=3"),
    ],
)
def test_what_others_say_is_passed_on_without_secrets(message, shown):
    """An error of another library, or the representation of an object, is shown without the secrets in it."""
    assert veiled(message) == shown


def test_a_warning_passes_on_what_others_say_without_secrets():
    """Whatever the message of a warning is made of, no secret is in it."""
    with pytest.warns(NotStoredWarning, match="^f.api_key='<secret>'. at <secret>$"):
        warn("f(api_key='abc') at sk-abcd1234EFGH", NotStoredWarning)


def test_an_error_names_the_place_without_the_secret():
    """The path in an error leads past a key of a dict that must not be shown."""
    with pytest.raises(UnkeyableArgument) as caught:
        canonical({"sk-abcd1234EFGH": object()}, "config")
    assert "sk-" not in str(caught.value) + caught.value.path
    assert "sk-" not in pickle.loads(pickle.dumps(caught.value)).path


def test_a_partial_is_named_without_its_keywords(tmp_path):
    """The name of what has none in messages is its representation, without the secret that it was made with."""

    def ask(prompt, api_key):
        return prompt

    with Cache(tmp_path) as cache:
        with pytest.raises(OptionError, match="api_key='<secret>'"):
            cache.cached_llm(ignore=("nothing",))(functools.partial(ask, api_key="abc"))
        assert "<secret>" in repr(cache.cached_llm(functools.partial(ask, api_key="abc")))
