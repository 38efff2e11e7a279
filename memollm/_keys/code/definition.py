"""How a function is defined: by its text, or by its compiled form where it has none that could be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memollm._keys.code.bytecode import tree_of_code
from memollm._keys.code.decorators import is_class_method
from memollm._keys.code.source import CodeSource, Edited, code_digest, code_of, function_source
from memollm._keys.code.syntax import cleaned, text

if TYPE_CHECKING:
    import ast
    from types import FunctionType


@dataclass(frozen=True, slots=True)
class Definition:
    """A function with its text, and why it has none."""

    function: Any
    source: CodeSource | None
    blind: str = ""

    @classmethod
    def of(cls, function: FunctionType) -> Definition:
        """Find a function's text, and say why there is none that could be trusted."""
        try:
            source = function_source(function)
        except Edited as edited:
            return cls(function, None, f"{edited} no longer holds the code that runs")
        return cls(function, source, "" if source else "there is no source for it")

    def tree(self, *, documented: bool = False) -> ast.AST:
        """Give the tree of the text, or a rough one of what the code does."""
        if self.source is None:
            return tree_of_code(self.function)
        return cleaned(self.source.node, documented=documented)

    def text(self, node: ast.AST) -> str:
        """Write a tree of it, or what it was compiled to."""
        return f"compiled {code_digest(code_of(self.function))}" if self.source is None else text(node)

    def is_class_method(self, owner: type | None) -> bool:
        """Tell whether it is a class's own method; the text says so, or the class that it was defined in."""
        if self.source is not None:
            return is_class_method(self.source.node)
        member = vars(owner).get(self.function.__name__) if owner is not None else None
        return isinstance(member, classmethod)
