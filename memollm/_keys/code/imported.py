"""What an import brings, as a node in the rough tree of compiled code, until a name is bound to it."""

from __future__ import annotations

import ast


class ImportedName(ast.expr):
    """A module that is imported, or something of it."""

    _fields = ()

    def __init__(self, module: str, level: int, name: str | None, *, whole: bool) -> None:
        super().__init__()
        self.module, self.level, self.name, self.whole = module, level, name, whole

    def stored(self, name: str) -> ast.stmt:
        """Write what binds it to a name."""
        if self.name is not None:
            return ast.ImportFrom(self.module, [ast.alias(self.name, name)], self.level)
        is_top = not self.whole and name == self.module.partition(".")[0]
        return ast.Import([ast.alias(self.module, None if is_top else name)])
