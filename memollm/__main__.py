"""The command line, as `memollm` or `python -m memollm`."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line, or say what it lacks."""
    if find_spec("click") is None:
        sys.exit(_lacking())
    try:
        from memollm.cli._running import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # Before or after the command itself, which says more.
        code = 130
    sys.exit(code)


def _lacking() -> int:
    print("error: the command line needs click. Install it with: pip install 'memollm[cli]'", file=sys.stderr)  # noqa: T201 - there is no click to do it
    return 2


if __name__ == "__main__":
    main()
