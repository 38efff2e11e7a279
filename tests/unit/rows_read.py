# ruff: noqa: E501 - A row is a program, and reads best on one line.
"""Programs in two states: what differs between them is either what their function reads, or no matter (P8).

Each is a module whose `ask(q)` is memoized. The change is run in the module's namespace, as a user's program would.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A program, what is done to it, and how that is undone; `also` are other files beside it."""

    text: str
    change: str
    undo: str = ""
    also: tuple[tuple[str, str], ...] = ()
    ignore: tuple[str, ...] = ()


PROMPTS = ("prompts", 'SYSTEM = "a"\ndef tidy(q): return SYSTEM + q\n')
HELPED = ("lab", "STYLE = 'a'\nCONFIG = {'style': 'a'}\ndef tidy(q): return STYLE + CONFIG['style'] + q\n")
CONFIG = """
from dataclasses import dataclass, field
@dataclass
class Config:
    style: str = "a"
    inner: dict = field(default_factory=lambda: {"k": 1})
CFG = Config()
"""
SLOTTED = """
class Config:
    __slots__ = ("style", "rest")
    def __init__(self, style): self.style, self.rest = style, []
CFG = Config("a")
"""
OPAQUE = "class Model:\n    def __init__(self, name): self.name = name\n    def run(self, q): return self.name + q\n"

MISSES = {
    # State that changes while the program runs.
    "a global": Row("STYLE = 'a'\ndef ask(q): return STYLE + q", "STYLE = 'b'", "STYLE = 'a'"),
    "a global of another type": Row("N = 1\ndef ask(q): return repr(N) + q", "N = True", "N = 1"),
    "a global of another sign": Row("N = 0.0\ndef ask(q): return repr(N) + q", "N = -0.0", "N = 0.0"),
    "an entry of a dict": Row(
        "CONFIG = {'style': 'a'}\ndef ask(q): return CONFIG['style'] + q",
        "CONFIG['style'] = 'b'",
        "CONFIG['style'] = 'a'",
    ),
    "an entry of another type": Row("C = {'n': 1}\ndef ask(q): return repr(C['n']) + q", "C['n'] = True", "C['n'] = 1"),
    "an entry deep in a dict": Row(
        "C = {'a': [{'b': 'a'}]}\ndef ask(q): return C['a'][0]['b'] + q", "C['a'][0]['b'] = 'b'", "C['a'][0]['b'] = 'a'"
    ),
    "a list": Row("SHOTS = ['a']\ndef ask(q): return ''.join(SHOTS) + q", "SHOTS.append('b')", "SHOTS.pop()"),
    "a set": Row("WORDS = {'a'}\ndef ask(q): return repr(sorted(WORDS)) + q", "WORDS.add('b')", "WORDS.discard('b')"),
    "a deque": Row(
        "from collections import deque\nSHOTS = deque(['a'])\ndef ask(q): return ''.join(SHOTS) + q",
        "SHOTS.append('b')",
        "SHOTS.pop()",
    ),
    "an ordered dict": Row(
        "from collections import OrderedDict\nC = OrderedDict(a='a')\ndef ask(q): return repr(C) + q",
        "C['a'] = 'b'",
        "C['a'] = 'a'",
    ),
    "an attribute of a dataclass": Row(
        CONFIG + "def ask(q): return CFG.style + q", "CFG.style = 'b'", "CFG.style = 'a'"
    ),
    "an entry in a dataclass": Row(
        CONFIG + "def ask(q): return str(CFG.inner) + q", "CFG.inner['k'] = 2", "CFG.inner['k'] = 1"
    ),
    "a dataclass handed on": Row(
        CONFIG + "def tell(c): return c.style\ndef ask(q): return tell(CFG) + q", "CFG.style = 'b'", "CFG.style = 'a'"
    ),
    "an attribute of a class": Row(
        "class Config:\n    style = 'a'\ndef ask(q): return Config.style + q",
        "Config.style = 'b'",
        "Config.style = 'a'",
    ),
    "an attribute of a class, read by an instance": Row(
        "class Config:\n    style = 'a'\ndef ask(q): return Config().style + q",
        "Config.style = 'b'",
        "Config.style = 'a'",
    ),
    "an attribute that hides the class's": Row(
        "class Config:\n    style = 'a'\nCFG = Config()\ndef ask(q): return CFG.style + q",
        "CFG.style = 'b'",
        "del CFG.style",
    ),
    "an attribute of a base class": Row(
        "class Base:\n    style = 'a'\nclass Config(Base): pass\ndef ask(q): return Config.style + q",
        "Config.style = 'b'",
        "del Config.style",
    ),
    "an own method put in": Row(
        "class Tidy:\n    def go(self, q): return 'a' + q\nOLD = Tidy.go\ndef ask(q): return Tidy().go(q)",
        "Tidy.go = lambda self, q: 'b' + q",
        "Tidy.go = OLD",
    ),
    "a module's name": Row(
        "import prompts\ndef ask(q): return prompts.SYSTEM + q",
        "prompts.SYSTEM = 'b'",
        "prompts.SYSTEM = 'a'",
        (PROMPTS,),
    ),
    "a global of a helper": Row(
        "import lab\ndef ask(q): return lab.tidy(q)", "lab.STYLE = 'b'", "lab.STYLE = 'a'", (HELPED,)
    ),
    "an entry that a helper reads": Row(
        "from lab import CONFIG, tidy\ndef ask(q): return tidy(q)",
        "CONFIG['style'] = 'b'",
        "CONFIG['style'] = 'a'",
        (HELPED,),
    ),
    "a helper's default": Row(
        "def tidy(q, style='a'): return style + q\ndef ask(q): return tidy(q)",
        "tidy.__defaults__ = ('b',)",
        "tidy.__defaults__ = ('a',)",
    ),
    "a helper's mutable default": Row(
        "def tidy(q, shots=['a']): return ''.join(shots) + q\ndef ask(q): return tidy(q)",
        "tidy.__defaults__[0].append('b')",
        "tidy.__defaults__[0].pop()",
    ),
    "a helper defined anew": Row(
        "def tidy(q): return 'a' + q\nOLD = tidy\ndef ask(q): return tidy(q)",
        "def tidy(q): return 'b' + q",
        "tidy = OLD",
    ),
    "a helper's code put in": Row(
        "def tidy(q): return 'a' + q\nOLD = tidy.__code__\ndef ask(q): return tidy(q)",
        "tidy.__code__ = (lambda q: 'b' + q).__code__",
        "tidy.__code__ = OLD",
    ),
    "a variable of an enclosing function": Row(
        "def make():\n    style = 'a'\n    def ask(q): return style + q\n    def to(new):\n        nonlocal style\n"
        "        style = new\n    return ask, to\nask, to = make()",
        "to('b')",
        "to('a')",
    ),
    "a list of an enclosing function": Row(
        "def make():\n    shots = ['a']\n    def ask(q): return ''.join(shots) + q\n    return ask, shots\nask, shots = make()",
        "shots.append('b')",
        "shots.pop()",
    ),
    "a mutated default": Row(
        "def ask(q, shots=['a']): return ''.join(shots) + q",
        "inner.__defaults__[0].append('b')",
        "inner.__defaults__[0].pop()",
    ),
    "a replaced default": Row(
        "def ask(q, style='a'): return style + q", "inner.__defaults__ = ('b',)", "inner.__defaults__ = ('a',)"
    ),
    "an attribute of a callable object": Row(
        "class Ask:\n    def __init__(self): self.style = 'a'\n    def __call__(self, q): return self.style + q\nask = Ask()",
        "inner.style = 'b'",
        "inner.style = 'a'",
    ),
    "a reloaded module": Row(
        "import prompts\ndef ask(q): return prompts.tidy(q)",
        "import importlib, pathlib, linecache; f = pathlib.Path(prompts.__file__); f.write_text(f.read_text()"
        ".replace('\"a\"', '\"bb\"')); importlib.reload(prompts)",
        "f.write_text(f.read_text().replace('\"bb\"', '\"a\"')); importlib.reload(prompts)",
        (PROMPTS,),
    ),
    "an attribute of a function": Row(
        "def tidy(q): return q\ntidy.style = 'a'\ndef ask(q): return tidy.style + q",
        "tidy.style = 'b'",
        "tidy.style = 'a'",
    ),
    "a context variable": Row(
        "from contextvars import ContextVar\nSTYLE = ContextVar('s', default='a')\ndef ask(q): return STYLE.get() + q",
        "STYLE.set('b')",
        "STYLE.set('a')",
    ),
    # State that was counted by its type only.
    "arguments of a command line": Row(
        "from argparse import Namespace\nargs = Namespace(model='a')\ndef ask(q): return args.model + q",
        "args.model = 'b'",
        "args.model = 'a'",
    ),
    "arguments that were parsed anew": Row(
        "from argparse import Namespace\nargs = Namespace(model='a')\ndef ask(q): return args.model + q",
        "args = Namespace(model='b')",
        "args = Namespace(model='a')",
    ),
    "arguments of a command line in a closure": Row(
        "from argparse import Namespace\ndef main():\n    args = Namespace(model='a')\n    def ask(q): return args.model + q\n"
        "    return ask, args\nask, args = main()",
        "args.model = 'b'",
        "args.model = 'a'",
    ),
    "arguments of a command line handed on": Row(
        "from argparse import Namespace\nargs = Namespace(model='a')\ndef tell(args): return args.model\n"
        "def ask(q): return tell(args) + q",
        "args.model = 'b'",
        "args.model = 'a'",
    ),
    "a model object": Row(OPAQUE + "M = Model('a')\ndef ask(q): return M.run(q)", "M.name = 'b'", "M.name = 'a'"),
    "another model object": Row(
        OPAQUE + "M = Model('a')\ndef ask(q): return M.run(q)", "M = Model('b')", "M = Model('a')"
    ),
    "a model of pydantic": Row(
        "import pydantic\nclass Chat(pydantic.BaseModel):\n    model: str\nM = Chat(model='a')\ndef tell(m): return m.model\n"
        "def ask(q): return tell(M) + q",
        "M.model = 'b'",
        "M.model = 'a'",
    ),
    "a ConfigParser": Row(
        "from configparser import ConfigParser\nC = ConfigParser()\nC['x'] = {'style': 'a'}\n"
        "def ask(q): return C['x']['style'] + q",
        "C['x']['style'] = 'b'",
        "C['x']['style'] = 'a'",
    ),
    "a template": Row(
        "from string import Template\nT = Template('a $q')\ndef ask(q): return T.substitute(q=q)",
        "T = Template('b $q')",
        "T = Template('a $q')",
    ),
    "slots": Row(SLOTTED + "def ask(q): return CFG.style + q", "CFG.style = 'b'", "CFG.style = 'a'"),
    "slots handed on": Row(
        SLOTTED + "def tell(c): return c.style + repr(c.rest)\ndef ask(q): return tell(CFG) + q",
        "CFG.rest.append(1)",
        "CFG.rest.pop()",
    ),
    "a list of own objects": Row(
        OPAQUE + "MS = [Model('a')]\ndef ask(q): return MS[0].run(q)", "MS[0].name = 'b'", "MS[0].name = 'a'"
    ),
    "a dict of own objects": Row(
        OPAQUE + "MS = {'m': Model('a')}\ndef ask(q): return MS['m'].run(q)",
        "MS['m'] = Model('b')",
        "MS['m'] = Model('a')",
    ),
    "an object within an object": Row(
        OPAQUE
        + "class Agent:\n    def __init__(self): self.model = Model('a')\nA = Agent()\ndef go(a, q): return a.model.run(q)\n"
        "def ask(q): return go(A, q)",
        "A.model.name = 'b'",
        "A.model.name = 'a'",
    ),
    "a function in a list": Row(
        "STEPS = [lambda q: 'a' + q]\nOLD = STEPS[0]\ndef ask(q): return STEPS[0](q)",
        "STEPS[0] = lambda q: 'b' + q",
        "STEPS[0] = OLD",
    ),
    "a base of a client": Row(
        "class Client:\n    __module__ = 'openai'\n    def __init__(self, url): self.base_url = url\nC = Client('a')\n"
        "def tell(c): return c.base_url\ndef ask(q): return tell(C) + q",
        "C.base_url = 'b'",
        "C.base_url = 'a'",
    ),
    "an array": Row("import numpy\nW = numpy.zeros(3)\ndef ask(q): return repr(W) + q", "W[0] = 1", "W[0] = 0"),
    # Functions that lost a part of themselves.
    "a bound format": Row(
        "SAY = 'a {q}'.format\ndef ask(q): return SAY(q=q)", "SAY = 'b {q}'.format", "SAY = 'a {q}'.format"
    ),
    "a bound substitute": Row(
        "from string import Template\nSAY = Template('a $q').substitute\ndef ask(q): return SAY(q=q)",
        "SAY = Template('b $q').substitute",
        "SAY = Template('a $q').substitute",
    ),
    "a bound lookup": Row(
        "SAY = {'k': 'a'}.__getitem__\ndef ask(q): return SAY('k') + q",
        "SAY = {'k': 'b'}.__getitem__",
        "SAY = {'k': 'a'}.__getitem__",
    ),
    "a partial of a bound format": Row(
        "from functools import partial\nSAY = partial('a {q}{x}'.format, x=1)\ndef ask(q): return SAY(q=q)",
        "SAY = partial('b {q}{x}'.format, x=1)",
        "SAY = partial('a {q}{x}'.format, x=1)",
    ),
    "a module under a local alias": Row(
        "import prompts\ndef ask(q):\n    p = prompts\n    return p.SYSTEM + q",
        "prompts.SYSTEM = 'b'",
        "prompts.SYSTEM = 'a'",
        (PROMPTS,),
    ),
    "a module handed on": Row(
        "import prompts\ndef tell(m): return m.SYSTEM\ndef ask(q): return tell(prompts) + q",
        "prompts.SYSTEM = 'b'",
        "prompts.SYSTEM = 'a'",
        (PROMPTS,),
    ),
    "a module imported by a call": Row(
        "import importlib\ndef ask(q): return importlib.import_module('prompts').SYSTEM + q",
        "import prompts; prompts.SYSTEM = 'b'",
        "prompts.SYSTEM = 'a'",
        (PROMPTS,),
    ),
    "an import inside": Row(
        "def ask(q):\n    from prompts import SYSTEM\n    return SYSTEM + q",
        "import prompts; prompts.SYSTEM = 'b'",
        "prompts.SYSTEM = 'a'",
        (PROMPTS,),
    ),
    "a docstring that is read": Row(
        "def tool(): 'a'\ndef ask(q): return tool.__doc__ + q", "tool.__doc__ = 'b'", "tool.__doc__ = 'a'"
    ),
    "a docstring that inspect reads": Row(
        "import inspect\ndef tool(): 'a'\ndef ask(q): return inspect.getdoc(tool) + q",
        "tool.__doc__ = 'b'",
        "tool.__doc__ = 'a'",
    ),
    "its own docstring": Row(
        "def ask(q):\n    'a'\n    return (inner.__doc__ or '') + q", "inner.__doc__ = 'b'", "inner.__doc__ = 'a'"
    ),
    "hints that are read": Row(
        "import typing\ndef tool(x: int): pass\ndef ask(q): return str(typing.get_type_hints(tool)) + q",
        "tool.__annotations__ = {'x': str}",
        "tool.__annotations__ = {'x': int}",
    ),
    "what a method hands on itself": Row(
        "class Model:\n    style = 'a'\n    def run(self, q): return tell(self) + q\ndef tell(m): return m.style\n"
        "M = Model()\ndef ask(q): return M.run(q)",
        "M.style = 'b'",
        "del M.style",
    ),
    "what a class method hands its class on for": Row(
        "class Model:\n    style = 'a'\n    @classmethod\n    def run(cls, q): return tell(cls) + q\ndef tell(m): return m.style\n"
        "def ask(q): return Model.run(q)",
        "Model.style = 'b'",
        "Model.style = 'a'",
    ),
    "an attribute of the type of an object": Row(
        "class Model:\n    style = 'a'\n    @property\n    def told(self): return type(self).style\n"
        "M = Model()\ndef ask(q): return M.told + q",
        "Model.style = 'b'",
        "Model.style = 'a'",
    ),
    "an attribute of the class of an object": Row(
        "class Model:\n    style = 'a'\n    def told(self): return self.__class__.style\n"
        "M = Model()\ndef ask(q): return M.told() + q",
        "Model.style = 'b'",
        "Model.style = 'a'",
    ),
    "the class of an object": Row(
        "class Calm: style = 'a'\nclass Loud: style = 'b'\nclass Model(Calm): pass\nclass Other(Loud): pass\nM = Model()\n"
        "def ask(q): return M.style + q",
        "M.__class__ = Other",
        "M.__class__ = Model",
    ),
    "the class of an object that is handed on": Row(
        "class Calm:\n    def run(self, q): return 'a' + q\nclass Loud:\n    def run(self, q): return 'b' + q\nM = Calm()\n"
        "def go(m, q): return m.run(q)\ndef ask(q): return go(M, q)",
        "M.__class__ = Loud",
        "M.__class__ = Calm",
    ),
    "the bases of a class": Row(
        "class Calm: style = 'a'\nclass Loud: style = 'b'\nclass Model(Calm): pass\ndef ask(q): return Model.style + q",
        "Model.__bases__ = (Loud,)",
        "Model.__bases__ = (Calm,)",
    ),
    "an attribute of a metaclass": Row(
        "class Meta(type): style = 'a'\nclass Model(metaclass=Meta): pass\ndef ask(q): return Model.style + q",
        "Meta.style = 'b'",
        "Meta.style = 'a'",
    ),
    "how a metaclass makes objects": Row(
        "class Meta(type):\n    def __call__(cls): return STYLE\nSTYLE = 'a'\n"
        "class Model(metaclass=Meta): pass\ndef ask(q): return Model() + q",
        "STYLE = 'b'",
        "STYLE = 'a'",
    ),
    "a method that is named as one that changes a list": Row(
        "class Prompt:\n    def __init__(self): self.style = 'a'\n    def add(self, q): return self.style + q\n"
        "P = Prompt()\ndef ask(q): return P.add(q)",
        "P.style = 'b'",
        "P.style = 'a'",
    ),
    "such a method of what an object holds": Row(
        "class Prompt:\n    def __init__(self): self.style = 'a'\n    def add(self, q): return self.style + q\n"
        "class Model:\n    def __init__(self): self.prompt = Prompt()\n    def run(self, q): return self.prompt.add(q)\n"
        "M = Model()\ndef go(m, q): return m.run(q)\ndef ask(q): return go(M, q)",
        "M.prompt.style = 'b'",
        "M.prompt.style = 'a'",
    ),
    "an entry beside a counter": Row(
        "STATE = {'style': 'a', 'calls': 0}\ndef ask(q):\n    STATE['calls'] += 1\n    return STATE['style'] + q",
        "STATE['style'] = 'b'",
        "STATE['style'] = 'a'",
    ),
    "an entry beside a log": Row(
        "STATE = {'style': 'a', 'log': []}\ndef ask(q):\n    STATE['log'].append(q)\n    return STATE['style'] + q",
        "STATE['style'] = 'b'",
        "STATE['style'] = 'a'",
    ),
    "an attribute beside one that is only set": Row(
        "class Config: pass\nC = Config()\nC.style = 'a'\ndef ask(q):\n    C.last = q\n    return C.style + q",
        "C.style = 'b'",
        "C.style = 'a'",
    ),
    "what an attribute is set to": Row(
        "PROMPTS = {'style': 'a'}\nclass Model: active = None\nM = Model()\n"
        "def ask(q):\n    M.active = PROMPTS\n    return PROMPTS['style'] + q",
        "PROMPTS['style'] = 'b'",
        "PROMPTS['style'] = 'a'",
    ),
    "what a dict falls back to": Row(
        "class Styles(dict):\n    other = 'a'\n    def __missing__(self, key): return self.other\n"
        "S = Styles()\ndef ask(q): return S[q] + q",
        "Styles.other = 'b'",
        "Styles.other = 'a'",
    ),
    "bytes that can be changed": Row(
        "B = bytearray(b'a')\ndef ask(q): return B.decode() + q", "B[:] = b'b'", "B[:] = b'a'"
    ),
    "an entry of the globals": Row(
        "STYLE = 'a'\ndef ask(q): return globals()['STYLE'] + q", "STYLE = 'b'", "STYLE = 'a'"
    ),
    "an entry of the globals that cannot be told": Row(
        "STYLE = 'a'\ndef ask(q, name='STYLE'): return globals()[name] + q", "STYLE = 'b'", "STYLE = 'a'"
    ),
    "a module that is taken from those loaded": Row(
        "import sys, prompts\ndef ask(q): return sys.modules['prompts'].SYSTEM + q",
        "prompts.SYSTEM = 'b'",
        "prompts.SYSTEM = 'a'",
        (PROMPTS,),
    ),
    "what a helper chooses from by type": Row(
        "import functools\n@functools.singledispatch\ndef tell(x): return ''\n@tell.register\n"
        "def _(x: str): return STYLE\nSTYLE = 'a'\ndef ask(q): return tell(q) + q",
        "STYLE = 'b'",
        "STYLE = 'a'",
    ),
    "what a method is bound to in its class": Row(
        "import functools\nclass Model:\n    def _run(self, style, q): return style + q\n"
        "    run = functools.partialmethod(_run, 'a')\nM = Model()\ndef go(m, q): return m.run(q)\ndef ask(q): return go(M, q)",
        "Model.run = functools.partialmethod(Model._run, 'b')",
        "Model.run = functools.partialmethod(Model._run, 'a')",
    ),
    "what a remembered method reads": Row(
        "import functools\nSTYLE = 'a'\nclass Model:\n    @functools.lru_cache\n    def told(self): return STYLE\n"
        "M = Model()\ndef go(m): return m.told()\ndef ask(q):\n    Model.told.cache_clear()\n    return go(M) + q",
        "STYLE = 'b'",
        "STYLE = 'a'",
    ),
    "a function that a decorator registers": Row(
        "R = {}\ndef named(n):\n    def put(f):\n        R[n] = f\n        return f\n    return put\n@named('go')\ndef go(q): return 'a' + q\nOLD = go\ndef ask(q): return R['go'](q)",
        "R['go'] = lambda q: 'b' + q",
        "R['go'] = OLD",
    ),
    "a function that a method registers": Row(
        "class Registry:\n    def __init__(self): self.held = {}\n    def add(self, f):\n        self.held[f.__name__] = f\n        return f\n    def get(self, n): return self.held[n]\nR = Registry()\n@R.add\ndef go(q): return 'a' + q\nOLD = go\ndef ask(q): return R.get('go')(q)",
        "R.held['go'] = lambda q: 'b' + q",
        "R.held['go'] = OLD",
    ),
    "what a decorator's helper reads that the body calls, too": Row(
        "S = ['a']\ndef first(): return S[0]\ndef go(q, n=first()): return first() + q\ndef ask(q): return go(q)",
        "S[0] = 'b'",
        "S[0] = 'a'",
    ),
    "a field of a named tuple": Row(
        "from collections import namedtuple\nConfig = namedtuple('Config', 'style')\nCFG = Config('a')\ndef ask(q): return CFG.style + q",
        "CFG = CFG._replace(style='b')",
        "CFG = CFG._replace(style='a')",
    ),
    "a field of a named tuple, read by its method": Row(
        "from typing import NamedTuple\nclass Config(NamedTuple):\n    style: str\n    def go(self, q): return self.style + q\nCFG = Config('a')\ndef ask(q): return CFG.go(q)",
        "CFG = Config('b')",
        "CFG = Config('a')",
    ),
    "an attribute that is looked up": Row(
        "class Config:\n    def __init__(self, **held): self.__dict__['held'] = held\n    def __getattr__(self, n): return self.held[n]\n    def __setattr__(self, n, v): self.held[n] = v\nCFG = Config(style='a')\ndef ask(q): return CFG.style + q",
        "CFG.style = 'b'",
        "CFG.style = 'a'",
    ),
    "an entry of an own container": Row(
        "class Held:\n    def __init__(self): self.d = {'s': 'a'}\n    def __getitem__(self, k): return self.d[k]\n    def __setitem__(self, k, v): self.d[k] = v\nCFG, LOG = Held(), {}\ndef ask(q):\n    LOG[q] = 1\n    return CFG['s'] + q",
        "CFG['s'] = 'b'",
        "CFG['s'] = 'a'",
    ),
    "what a descriptor of the class holds": Row(
        "class Field:\n    def __init__(self, v): self.v = v\n    def __get__(self, o, t): return self.v\nclass Config:\n    style = Field('a')\nCFG = Config()\ndef ask(q): return CFG.style + q",
        "vars(Config)['style'].v = 'b'",
        "vars(Config)['style'].v = 'a'",
    ),
    "what a descriptor of the class reads": Row(
        "STYLE = 'a'\nclass Field:\n    def __get__(self, o, t): return STYLE\nclass Config:\n    style = Field()\nCFG = Config()\ndef ask(q): return CFG.style + q",
        "STYLE = 'b'",
        "STYLE = 'a'",
    ),
    "what an object keeps for a descriptor": Row(
        "class Field:\n    def __set_name__(self, o, n): self.n = '_' + n\n    def __get__(self, o, t): return getattr(o, self.n)\n    def __set__(self, o, v): setattr(o, self.n, v)\nclass Config:\n    style = Field()\nCFG = Config()\nCFG.style = 'a'\ndef ask(q): return CFG.style + q",
        "CFG.style = 'b'",
        "CFG.style = 'a'",
    ),
    "a name that stood for nothing": Row(
        "def ask(q):\n    try: return STYLE + q\n    except NameError: return q", "STYLE = 'b'", "del STYLE"
    ),
    "a name of a module that stood for nothing": Row(
        "import prompts\ndef ask(q):\n    try: return prompts.STYLE + q\n    except AttributeError: return q",
        "prompts.STYLE = 'b'",
        "del prompts.STYLE",
        (PROMPTS,),
    ),
    "a variable that stood for nothing": Row(
        "def make():\n    def ask(q):\n        try: return style + q\n        except NameError: return q\n    def put(v):\n        nonlocal style\n        style = v\n    def drop():\n        nonlocal style\n        del style\n    return ask, put, drop\n    style = ''\nask, put, drop = make()",
        "put('b')",
        "drop()",
    ),
}

HITS = {
    "a counter": Row("N = 0\ndef ask(q):\n    global N\n    N += 1\n    return f'{N}{q}'", "N += 1"),
    "a counter in a list": Row("N = [0]\ndef ask(q):\n    N[0] += 1\n    return q", "N[0] += 1"),
    "a list it logs to": Row("LOG = []\ndef ask(q):\n    LOG.append(q)\n    return q", "LOG.append('x')"),
    "a list that a helper logs to": Row(
        "LOG = []\ndef log(q): LOG.append(q)\ndef ask(q):\n    log(q)\n    return q", "LOG.append('x')"
    ),
    "a list that a helper is handed": Row(
        "LOG = []\ndef log(to, q): to.append(q)\ndef ask(q):\n    log(LOG, q)\n    return q", "LOG.append('x')"
    ),
    "a dict of results": Row("DONE = {}\ndef ask(q):\n    DONE[q] = q\n    return DONE[q]", "DONE['x'] = 1"),
    "a lazily made client": Row(
        "class Client:\n    def run(self, q): return q\n_client = None\ndef ask(q):\n    global _client\n"
        "    if _client is None: _client = Client()\n    return _client.run(q)",
        "_client = Client()",
    ),
    "a helper's memo": Row(
        "MEMO = {}\ndef tidy(q):\n    if q not in MEMO: MEMO[q] = q.strip()\n    return MEMO[q]\ndef ask(q): return tidy(q)",
        "MEMO['x'] = 'x'",
    ),
    "a helper's lru_cache": Row(
        "import functools\n@functools.lru_cache\ndef tidy(q): return q.strip()\ndef ask(q): return tidy(q)", "tidy('x')"
    ),
    "a lock": Row(
        "import threading\nLOCK = threading.Lock()\ndef ask(q):\n    with LOCK: return q",
        "LOCK.acquire(); LOCK.release()",
    ),
    "a lock of processes": Row(
        "import multiprocessing\nLOCK = multiprocessing.Lock()\ndef ask(q):\n    with LOCK: return q",
        "LOCK.acquire(); LOCK.release()",
    ),
    "a logger": Row(
        "import logging\nLOG = logging.getLogger('x')\ndef ask(q):\n    LOG.info(q)\n    return q",
        "LOG.info('x'); LOG.propagate = False",
    ),
    "a random generator": Row(
        "import random\nRNG = random.Random(1)\ndef ask(q): return f'{RNG.random()}{q}'", "RNG.random()"
    ),
    "a progress bar": Row(
        "class Bar:\n    def __init__(self): self.n = 0\n    def update(self, k): self.n += k\nBAR = Bar()\n"
        "def ask(q):\n    BAR.update(1)\n    return q",
        "BAR.update(1)",
    ),
    "a counter of its own object": Row(
        OPAQUE.replace("return", "self.calls = getattr(self, 'calls', 0) + 1; return")
        + "M = Model('a')\ndef ask(q): return M.run(q)",
        "M.run('x')",
    ),
    "a counter of an object that is handed on": Row(
        "class Model:\n    def __init__(self): self.calls = 0\n    def run(self, q):\n        self.calls += 1\n        return q\n"
        "M = Model()\ndef go(m, q): return m.run(q)\ndef ask(q): return go(M, q)",
        "M.run('x')",
    ),
    "a counter of an enclosing function": Row(
        "def make():\n    n = 0\n    def ask(q):\n        nonlocal n\n        n += 1\n        return q\n    return ask\nask = make()",
        "pass",
    ),
    "an attribute of itself": Row("def ask(q):\n    ask.calls = getattr(ask, 'calls', 0) + 1\n    return q", "pass"),
    "an iterator": Row("import itertools\nN = itertools.count()\ndef ask(q): return f'{next(N)}{q}'", "next(N)"),
    "what is not read": Row("OTHER = {}\ndef ask(q): return q", "OTHER['x'] = 1"),
    "what is set to the same": Row("STYLE = 'a'\ndef ask(q): return STYLE + q", "STYLE = ''.join(['a'])"),
    "a dict in another order": Row("C = {'a': 1, 'b': 2}\ndef ask(q): return C['a']", "C['a'] = C.pop('a')"),
    "an equal object": Row(
        "from argparse import Namespace\nargs = Namespace(model='a')\ndef ask(q): return args.model + q",
        "args = Namespace(model='a')",
    ),
    "what is ignored": Row(
        "VERBOSE = False\ndef ask(q): return q if VERBOSE else q", "VERBOSE = True", ignore=("VERBOSE",)
    ),
    "what is ignored in a closure": Row(
        "def make():\n    start = [1]\n    def ask(q): return q if start else q\n    return ask, start\nask, start = make()",
        "start.append(2)",
        ignore=("start",),
    ),
    "what is ignored of a helper": Row(
        "import lab\ndef ask(q): return lab.tidy(q)", "lab.STYLE = 'b'", also=(HELPED,), ignore=("lab.STYLE",)
    ),
    "a lazily kept property": Row(
        "import functools\nclass Model:\n    @functools.cached_property\n    def name(self): return 'a'\nM = Model()\n"
        "def go(m): return m.name\ndef ask(q): return go(M) + q",
        "M.name",
    ),
    "a dict of lists of results": Row(
        "from collections import defaultdict\nDONE = defaultdict(list)\ndef ask(q):\n    DONE[q].append(q)\n    return q",
        "DONE['x'].append('x')",
    ),
    "a list in a dict": Row(
        "S = {'log': [], 'n': {'calls': 0}}\ndef ask(q):\n    S['log'].append(q)\n    S['n']['calls'] += 1\n    return q",
        "S['log'].append('x'); S['n']['calls'] += 1",
    ),
    "a list by a name of its own": Row(
        "S = {'log': []}\ndef ask(q):\n    log = S['log']\n    log.append(q)\n    return q", "S['log'].append('x')"
    ),
    "a list that is made when it is needed": Row(
        "S = {}\ndef ask(q):\n    S.setdefault('log', []).append(q)\n    return q",
        "S.setdefault('log', []).append('x')",
    ),
    "a list that is added to": Row(
        "LOG = []\ndef ask(q):\n    global LOG\n    LOG += [q]\n    return q", "LOG += ['x']"
    ),
    "an attribute that is only set": Row(
        "class Config: pass\nC = Config()\ndef ask(q):\n    C.last = q\n    return q", "C.last = 'x'"
    ),
    "a list that a helper notes in": Row(
        "LOG = []\ndef note(to, q): to.append(q)\ndef ask(q):\n    note(LOG, q)\n    return q", "LOG.append('x')"
    ),
    "the name of an object's class": Row(
        "class Model:\n    def run(self, q): return q if type(self).__name__ else q\nM = Model()\ndef ask(q): return M.run(q)",
        "Model.other = 1",
    ),
    "a count that a decorator's function keeps": Row(
        "N = [0]\ndef counted(f):\n    def inner(q):\n        N[0] += 1\n        return f(q)\n    return inner\n@counted\ndef go(q): return q\ndef ask(q): return go(q)",
        "go('z')",
    ),
    "a log of its own decorator": Row(
        "import functools\nLOG = {}\ndef logged(f):\n    @functools.wraps(f)\n    def inner(q):\n        LOG[q] = 1\n        return f(q)\n    return inner\n@logged\ndef ask(q): return q",
        "inner('z')",
    ),
    "an own memo that it assigns entries of": Row(
        "class Memo:\n    def __init__(self): self.d = {}\n    def __contains__(self, k): return k in self.d\n    def __getitem__(self, k): return self.d[k]\n    def __setitem__(self, k, v): self.d[k] = v\nM = Memo()\ndef ask(q):\n    if q not in M: M[q] = q + '!'\n    return M[q]",
        "M['z'] = 'y'",
    ),
    "an attribute that its object's class takes": Row(
        "class State:\n    def __setattr__(self, n, v): self.__dict__[n] = v\nS = State()\nS.n = 0\ndef ask(q):\n    S.n += 1\n    return q",
        "S.n = 9",
    ),
    "what a descriptor keeps": Row(
        "class lazy:\n    def __init__(self, f): self.f, self.n = f, f.__name__\n    def __get__(self, o, t):\n        v = o.__dict__[self.n] = self.f(o)\n        return v\nclass C:\n    @lazy\n    def s(self): return 'a'\nO = C()\ndef ask(q): return O.s + q",
        "O.s",
    ),
}
