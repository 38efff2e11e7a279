"""Every kind of draw that a call may be, for those who drive them."""

from __future__ import annotations

from typing import TypeAlias

from memollm._draws.flow import Draw
from memollm._draws.rereading import Rereading
from memollm._draws.resuming import Resuming
from memollm._draws.succession import Succession

AnyDraw: TypeAlias = Draw | Rereading | Resuming | Succession
