"""A rough tree of compiled code that has no text: what it looks up, and what it does with that, in the code's order."""

from __future__ import annotations

import ast
import dis
import sys
from types import CodeType
from typing import TYPE_CHECKING, Any, Final, cast

from memollm._keys.code.imported import ImportedName

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType

_UNKNOWN: Final = ast.Constant(None)
_NULL: Final = ast.Constant(...)
"""What stands on the stack beside something that is to be called."""
_LOAD, _STORE, _DEL = ast.Load(), ast.Store(), ast.Del()
_ROOM_ABOVE: Final = sys.version_info >= (3, 13)
_FIRST_IN_PLACE: Final = 13
"""The number of `+=` among the operators; those before it are `+` and its like."""
_LEAVES: Final = ("RETURN_VALUE", "RETURN_CONST", "RAISE_", "RERAISE")
_ENDS: Final = (*_LEAVES, "JUMP_FORWARD", "JUMP_BACKWARD")
_TAKING: Final = (
    "POP_", "STORE_", "DELETE_", "LIST_", "SET_", "MAP_", "DICT_", "END_", "CLEANUP_", "JUMP_IF", *_LEAVES,
)  # fmt: skip
"""How those begin that take values and give none."""
_FROM_DICT: Final = ("LOAD_FROM_DICT_OR_GLOBALS", "LOAD_FROM_DICT_OR_DEREF")
_OF_VALUES: Final = ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_NAME", *_FROM_DICT)
_IDLE: Final = (
    "NOP", "RESUME", "CACHE", "EXTENDED_ARG", "MAKE_CELL", "COPY_FREE_VARS", "NOT_TAKEN",
    "SETUP_ANNOTATIONS", "GET_AWAITABLE", "GET_YIELD_FROM_ITER", "ASYNC_GEN_WRAP", "CHECK_", "BEFORE_", "JUMP_",
)  # fmt: skip
"""How those begin that leave the values as they are, or put others beside them."""


def tree_of_code(function: FunctionType) -> ast.FunctionDef:
    """Write what a function does as a definition without any control flow: all that it may do, one after another."""
    return _definition(function.__code__, function.__name__)


def _definition(code: CodeType, name: str) -> ast.FunctionDef:
    count = code.co_argcount + code.co_kwonlyargcount
    stars = bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)
    names = [ast.arg(each) for each in code.co_varnames[: count + stars]]
    only, placed = names[code.co_argcount : count], names[: code.co_argcount]
    arguments = ast.arguments([], placed, None, only, [None] * len(only), None, [])
    arguments.vararg = names[count] if code.co_flags & 0x04 else None
    arguments.kwarg = names[-1] if code.co_flags & 0x08 else None
    return ast.FunctionDef(name=name, args=arguments, body=_Stepper(code).read(), decorator_list=[], returns=None)


class _Stepper:
    """Goes through the instructions once, with what would be on the stack as nodes."""

    def __init__(self, code: CodeType) -> None:
        self._code = code
        self._stack: list[ast.expr] = []
        self._body: list[ast.stmt] = []
        self._waiting: dict[int, list[ast.expr]] = {}
        """What is on the stack where somebody jumps to."""
        self._named: tuple[str, ...] = ()
        """The names of the arguments that are given by name in the next call."""
        self._outside = frozenset(code.co_freevars)

    def read(self) -> list[ast.stmt]:
        """Return what the code does."""
        goes_on = True
        # What `PRECALL` says of a call, the call that follows it says as well.
        for each in (each for each in dis.get_instructions(self._code) if each.opname != "PRECALL"):
            self._arrive(each.offset, goes_on=goes_on)
            if each.opcode in dis.hasjrel or each.opcode in dis.hasjabs:
                self._jump(each)
            self._step(each)
            goes_on = not each.opname.startswith(_ENDS)
            if each.opname.startswith(_LEAVES):
                self._leave()
        self._leave()
        return self._body or [ast.Pass()]

    # The stack ------------------------------------------------------------------------------------------------------

    def _pop(self) -> ast.expr:
        return self._stack.pop() if self._stack else _UNKNOWN

    def _pops(self, count: int) -> list[ast.expr]:
        return [self._pop() for _ in range(count)][::-1]

    def _push(self, *nodes: ast.expr) -> None:
        self._stack.extend(nodes)

    def _note(self, *nodes: ast.expr) -> None:
        """Write down what is looked up and goes nowhere that is known."""
        self._body += [ast.Expr(node) for node in nodes if node is not _UNKNOWN and node is not _NULL]

    def _leave(self) -> None:
        self._note(*self._stack)
        self._stack = []

    def _jump(self, each: dis.Instruction) -> None:
        """Remember what will be on the stack there; a handler of exceptions finds nothing that is known."""
        effect = dis.stack_effect(each.opcode, each.arg, jump=True)
        there = self._stack[:effect] if effect < 0 else [*self._stack, *[_UNKNOWN] * effect]
        self._note(*self._stack[len(there) :])
        known = self._waiting.get(each.argval)
        self._waiting[each.argval] = there if known is None else _either(known, there)

    def _arrive(self, offset: int, *, goes_on: bool) -> None:
        there = self._waiting.pop(offset, None)
        if there is not None:
            self._stack = _either(self._stack, there) if goes_on else there
        elif not goes_on:
            self._stack = []

    # Instructions ---------------------------------------------------------------------------------------------------

    def _step(self, each: dis.Instruction) -> None:
        known, effect = _STEPS.get(each.opname), dis.stack_effect(each.opcode, each.arg, jump=False)
        if known is not None:
            known(self, each)
        elif effect > 0:
            self._push(*[_NULL if each.opname == "PUSH_NULL" else _UNKNOWN] * effect)
        elif each.opname.startswith(_TAKING):
            self._note(*self._pops(-effect))
        elif effect or not each.opname.startswith(_IDLE):
            # Whatever it makes of them, it has read them.
            self._push(ast.Tuple(self._pops(1 - effect), _LOAD))

    def constant(self, each: dis.Instruction) -> None:
        """Push a constant; code of an inner function is written down where it stands."""
        value: Any = each.argval
        if isinstance(value, CodeType) and value.co_name != "__annotate__":
            self._body.append(_definition(value, f"<{value.co_name}>"))
        self._push(_UNKNOWN if isinstance(value, CodeType) else ast.Constant(value))

    def local(self, each: dis.Instruction) -> None:
        """Push one variable or two; one that inner functions share is no value yet, but what they are made with."""
        if each.opname in _FROM_DICT:
            self._note(self._pop())
        names = _names(each.argval)
        shared = () if each.opname in _OF_VALUES else (*self._code.co_cellvars, *self._code.co_freevars)
        self._push(*(_UNKNOWN if name in shared else ast.Name(name, _LOAD) for name in names))

    def outside(self, each: dis.Instruction) -> None:
        """Push a global, with room for what a call needs beside it."""
        room = [_NULL] * (dis.stack_effect(each.opcode, each.arg) - 1)
        found = ast.Name(each.argval, _LOAD)
        self._push(*((found, *room) if _ROOM_ABOVE else (*room, found)))

    def attribute(self, each: dis.Instruction) -> None:
        """Push an attribute, with room beside it where it is to be called."""
        found = ast.Attribute(self._pop(), each.argval, _LOAD)
        is_called = dis.stack_effect(each.opcode, each.arg) > 0
        self._push(found, *[_NULL] * is_called)

    def of_super(self, each: dis.Instruction) -> None:
        """Push an attribute of `super()`."""
        self._pops(3)
        found = ast.Attribute(ast.Call(ast.Name("super", _LOAD), [], []), each.argval, _LOAD)
        self._push(found, *[_NULL] * (dis.stack_effect(each.opcode, each.arg) > -2))  # noqa: PLR2004

    def names(self, each: dis.Instruction) -> None:
        """Keep the names of the next call's last arguments."""
        self._named = _names(self._code.co_consts[each.arg or 0])

    def call(self, each: dis.Instruction) -> None:
        """Call with arguments by place and by name."""
        if each.opname == "CALL_KW":
            names = self._pop()
            self._named = _names(names.value) if isinstance(names, ast.Constant) else ()
        given, named = self._pops(each.arg or 0), self._named
        placed = given[: len(given) - len(named)]
        keywords = [ast.keyword(name, value) for name, value in zip(named, given[len(placed) :], strict=True)]
        self._named = ()
        self._call(placed, keywords)

    def call_with_all(self, each: dis.Instruction) -> None:
        """Call with `*args` and `**kwargs`."""
        # From Python 3.14 on there is always something in the place of `**kwargs`.
        named = self._pop() if each.arg is None or each.arg & 1 else _NULL
        keywords = [] if named is _NULL else [ast.keyword(None, named)]
        self._call([ast.Starred(self._pop(), _LOAD)], keywords)

    def _call(self, args: list[ast.expr], keywords: list[ast.keyword]) -> None:
        below = [node for node in self._pops(2) if node is not _NULL]
        function, receiver = (below or [_UNKNOWN])[0], below[1:]
        self._push(ast.Call(function, [*receiver, *args], keywords))

    def subscript(self, _each: dis.Instruction) -> None:
        """Push an entry."""
        value, key = self._pops(2)
        self._push(ast.Subscript(value, key, _LOAD))

    def part(self, _each: dis.Instruction) -> None:
        """Push a part of a list."""
        value, start, end = self._pops(3)
        self._push(ast.Subscript(value, ast.Slice(start, end), _LOAD))

    def slice(self, each: dis.Instruction) -> None:
        """Push what says which part is meant."""
        self._push(ast.Slice(*self._pops(each.arg or 2)))

    def operate(self, each: dis.Instruction) -> None:
        """Push what an operator makes; of `+=` it is known which it is, by the one who stores it."""
        left, right = self._pops(2)
        if "[" in each.argrepr:
            self._push(ast.Subscript(left, right, _LOAD))
            return
        operated = ast.BinOp(left, ast.Add(), right)
        cast("Any", operated).in_place = (each.arg or 0) >= _FIRST_IN_PLACE
        self._push(operated)

    def build(self, each: dis.Instruction) -> None:
        """Push a list or a text of several."""
        items = self._pops(each.arg or 0)
        self._push(ast.JoinedStr(items) if each.opname == "BUILD_STRING" else ast.List(items, _LOAD))

    def build_tuple(self, each: dis.Instruction) -> None:
        """Push several at once."""
        self._push(ast.Tuple(self._pops(each.arg or 0), _LOAD))

    def build_map(self, each: dis.Instruction) -> None:
        """Push a dict."""
        items = self._pops(2 * (each.arg or 0))
        self._push(ast.Dict(list(items[::2]), items[1::2]))

    def build_keyed(self, each: dis.Instruction) -> None:
        """Push a dict whose keys are constants."""
        self._pop()
        self._push(ast.Dict([None] * (each.arg or 0), self._pops(each.arg or 0)))

    def written(self, each: dis.Instruction) -> None:
        """Push a part of a text; how it is to be written goes along."""
        has_spec = each.opname == "FORMAT_WITH_SPEC" or (each.opname == "FORMAT_VALUE" and (each.arg or 0) & 4)
        if has_spec:
            self._note(self._pop())
        self._push(ast.FormattedValue(self._pop(), -1))

    def spread(self, _each: dis.Instruction) -> None:
        """Take all items of something into another."""
        self._note(ast.Starred(self._pop(), _LOAD))

    def walk(self, _each: dis.Instruction) -> None:
        """Begin to go through the items of something."""
        self._push(ast.Starred(self._pop(), _LOAD))

    def unpack(self, each: dis.Instruction) -> None:
        """Push each of several."""
        self._note(self._pop())
        self._push(*[_UNKNOWN] * (1 + dis.stack_effect(each.opcode, each.arg)))

    def copy(self, each: dis.Instruction) -> None:
        """Push again what lies some way below."""
        below = each.arg or 1
        self._push(self._stack[-below] if below <= len(self._stack) else _UNKNOWN)

    def swap(self, each: dis.Instruction) -> None:
        """Change the top for what lies some way below."""
        below = each.arg or 2
        self._stack[:0] = [_UNKNOWN] * (below - len(self._stack))
        self._stack[-1], self._stack[-below] = self._stack[-below], self._stack[-1]

    def imported(self, each: dis.Instruction) -> None:
        """Push a module."""
        level, names = self._pops(2)
        whole = isinstance(names, ast.Constant) and names.value is not None
        number = level.value if isinstance(level, ast.Constant) and isinstance(level.value, int) else 0
        self._push(ImportedName(each.argval, number, None, whole=whole))

    def imported_from(self, each: dis.Instruction) -> None:
        """Push something of a module; `import a.b as c` takes its parts one after another."""
        module = self._stack[-1] if self._stack else _UNKNOWN
        if not isinstance(module, ImportedName):
            self._push(_UNKNOWN)
        elif module.whole:
            self._push(ImportedName(module.module, module.level, each.argval, whole=True))
        else:
            self._push(ImportedName(module.module, module.level, None, whole=True))

    # What is stored -------------------------------------------------------------------------------------------------

    def store(self, each: dis.Instruction) -> None:
        """Bind one name, or two, or one while another is looked up."""
        names = _names(each.argval)
        if each.opname == "STORE_FAST_LOAD_FAST":
            self._bind(names[0])
            self._push(ast.Name(names[1], _LOAD))
            return
        for name in names:
            self._bind(name)

    def store_outside(self, each: dis.Instruction) -> None:
        """Bind a name of an enclosing function, or a global."""
        if each.opname == "STORE_GLOBAL":
            self._body.append(ast.Global([each.argval]))
        elif each.argval in self._outside:
            self._body.append(ast.Nonlocal([each.argval]))
        self._bind(each.argval)

    def _bind(self, name: str) -> None:
        value = self._pop()
        if isinstance(value, ImportedName):
            self._body.append(value.stored(name))
        else:
            self._assign(ast.Name(name, _STORE), value)

    def _assign(self, target: ast.Name | ast.Attribute | ast.Subscript, value: ast.expr) -> None:
        if isinstance(value, ast.BinOp) and getattr(value, "in_place", False):
            self._body.append(ast.AugAssign(target, value.op, value.right))
        else:
            self._body.append(ast.Assign([target], value))

    def store_attribute(self, each: dis.Instruction) -> None:
        """Set an attribute."""
        value, owner = self._pops(2)
        self._assign(ast.Attribute(owner, each.argval, _STORE), value)

    def store_entry(self, _each: dis.Instruction) -> None:
        """Set an entry."""
        value, owner, key = self._pops(3)
        self._assign(ast.Subscript(owner, key, _STORE), value)

    def store_part(self, _each: dis.Instruction) -> None:
        """Set a part of a list."""
        value, owner, start, end = self._pops(4)
        self._assign(ast.Subscript(owner, ast.Slice(start, end), _STORE), value)

    def delete(self, each: dis.Instruction) -> None:
        """Delete a global, an attribute or an entry."""
        if each.opname == "DELETE_SUBSCR":
            owner, key = self._pops(2)
            self._body.append(ast.Delete([ast.Subscript(owner, key, _DEL)]))
        elif each.opname == "DELETE_ATTR":
            self._body.append(ast.Delete([ast.Attribute(self._pop(), each.argval, _DEL)]))
        else:
            self._body += [ast.Global([each.argval]), ast.Delete([ast.Name(each.argval, _DEL)])]


def _names(told: Any) -> tuple[str, ...]:
    return cast("tuple[str, ...]", told) if isinstance(told, tuple) else (told,)


def _either(one: list[ast.expr], other: list[ast.expr]) -> list[ast.expr]:
    """Say of each place on the stack that it holds what comes this way or that; the tops are at one height."""
    height = max(len(one), len(other))
    pairs = zip(*([_UNKNOWN] * (height - len(each)) + each for each in (one, other)), strict=True)
    return [this if this is that else ast.IfExp(_UNKNOWN, this, that) for this, that in pairs]


_STEPS: Final[dict[str, Callable[[_Stepper, dis.Instruction], None]]] = {
    **dict.fromkeys(("LOAD_CONST", "LOAD_SMALL_INT"), _Stepper.constant),
    **dict.fromkeys(
        (
            "LOAD_FAST",
            "LOAD_FAST_CHECK",
            "LOAD_FAST_AND_CLEAR",
            "LOAD_FAST_BORROW",
            "LOAD_FAST_LOAD_FAST",
            "LOAD_FAST_BORROW_LOAD_FAST_BORROW",
            "LOAD_DEREF",
            "LOAD_CLASSDEREF",
            "LOAD_CLOSURE",
            "LOAD_NAME",
            *_FROM_DICT,
        ),
        _Stepper.local,
    ),
    "LOAD_GLOBAL": _Stepper.outside,
    **dict.fromkeys(("LOAD_ATTR", "LOAD_METHOD"), _Stepper.attribute),
    "LOAD_SUPER_ATTR": _Stepper.of_super,
    "KW_NAMES": _Stepper.names,
    **dict.fromkeys(("CALL", "CALL_KW"), _Stepper.call),
    "CALL_FUNCTION_EX": _Stepper.call_with_all,
    "BINARY_SUBSCR": _Stepper.subscript,
    "BINARY_SLICE": _Stepper.part,
    "BUILD_SLICE": _Stepper.slice,
    "BINARY_OP": _Stepper.operate,
    **dict.fromkeys(("BUILD_LIST", "BUILD_STRING"), _Stepper.build),
    **dict.fromkeys(("BUILD_TUPLE", "BUILD_SET"), _Stepper.build_tuple),
    "BUILD_MAP": _Stepper.build_map,
    "BUILD_CONST_KEY_MAP": _Stepper.build_keyed,
    **dict.fromkeys(("FORMAT_VALUE", "FORMAT_SIMPLE", "FORMAT_WITH_SPEC"), _Stepper.written),
    **dict.fromkeys(("LIST_EXTEND", "SET_UPDATE", "DICT_UPDATE", "DICT_MERGE"), _Stepper.spread),
    **dict.fromkeys(("GET_ITER", "GET_AITER"), _Stepper.walk),
    **dict.fromkeys(("UNPACK_SEQUENCE", "UNPACK_EX"), _Stepper.unpack),
    "COPY": _Stepper.copy,
    "SWAP": _Stepper.swap,
    "IMPORT_NAME": _Stepper.imported,
    "IMPORT_FROM": _Stepper.imported_from,
    **dict.fromkeys(("STORE_FAST", "STORE_NAME", "STORE_FAST_STORE_FAST", "STORE_FAST_LOAD_FAST"), _Stepper.store),
    **dict.fromkeys(("STORE_GLOBAL", "STORE_DEREF"), _Stepper.store_outside),
    "STORE_ATTR": _Stepper.store_attribute,
    "STORE_SUBSCR": _Stepper.store_entry,
    "STORE_SLICE": _Stepper.store_part,
    **dict.fromkeys(("DELETE_SUBSCR", "DELETE_ATTR", "DELETE_GLOBAL"), _Stepper.delete),
}
