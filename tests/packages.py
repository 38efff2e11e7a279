"""Builds the wheel and the source distribution, and tries each in empty environments: the core alone, then each extra.

What is tried is the README's example, run twice, and the import of everything that an extra is for.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOR_WORKING_ON_IT = {"bench", "dev", "docs"}
TRIED = {
    "all": ["-c", "import memollm.http, memollm.proxy, memollm.ui"],
    "autogen": ["-c", "import memollm.integrations.autogen"],
    "cli": ["-m", "memollm", "demo"],
    "dspy": ["-c", "import memollm.integrations.dspy"],
    "http": ["-c", "import memollm.http; memollm.http.Transport"],
    "langchain": ["-c", "import memollm.integrations.langchain"],
    "litellm": ["-c", "import memollm.integrations.litellm"],
    "opentelemetry": ["-c", "import memollm.integrations.opentelemetry"],
    "postgres": ["-c", "import memollm.stores.postgres.store"],
    "prices": ["-c", "import genai_prices"],
    "prometheus": ["-c", "import memollm.integrations.prometheus"],
    "proxy": ["-c", "import memollm.proxy.serving, memollm.cli.proxy"],
    "pydantic-ai": ["-c", "import memollm.integrations.pydantic_ai"],
    "redis": ["-c", "import memollm.stores.redis.store"],
    "s3": ["-c", "import memollm.stores.s3.bucket"],
    "similar": ["-c", "import memollm._similar.vectors"],
    "ui": ["-c", "import memollm.ui, memollm.cli.ui"],
    "zstd": ["-c", "import sys; sys.version_info >= (3, 14) or __import__('zstandard')"],
}
"""What shows that an extra is there, besides that pip finds nothing missing."""


def run(*command: str | Path, where: Path) -> str:
    """Run a command and return what it prints; end with what it said if it fails."""
    result = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout


def built(folder: Path) -> list[Path]:
    """Build both distributions."""
    run(sys.executable, "-m", "build", "--outdir", folder, where=ROOT)
    return sorted(folder.iterdir())


def try_out(package: Path, extra: str, folder: Path) -> None:
    """Install a distribution into an empty environment and use it."""
    python = folder / "env" / "bin" / "python"
    venv.create(folder / "env", with_pip=True)
    wanted = f"{package}[{extra}]" if extra else str(package)
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted, where=folder)
    run(python, "-m", "pip", "check", where=folder)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    program = re.search(r'```python title="vote.py"\n(.*?)```', readme, flags=re.DOTALL)
    (folder / "vote.py").write_text(program[1] if program else "", encoding="utf-8")
    (folder / "pyproject.toml").touch()
    first, again = (run(python, "-W", "error", "vote.py", where=folder).splitlines() for _ in range(2))
    if (first[0], again[1]) != (again[0], "0 calls paid for, 5 answers from the cache"):
        sys.exit(f"{package.name}: the README's example printed {first} and then {again}")
    if extra in TRIED:
        run(python, *TRIED[extra], where=folder)


def main() -> None:
    """Try every distribution with every extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = sorted(set(project["optional-dependencies"]) - FOR_WORKING_ON_IT)
    with tempfile.TemporaryDirectory() as folder:
        for package in built(Path(folder, "dist")):
            for extra in ["", *extras]:
                place = Path(folder, f"{package.name}-{extra or 'core'}")
                place.mkdir()
                try_out(package, extra, place)
                print(f"{package.name}: {extra or 'the core alone'} works")


if __name__ == "__main__":
    main()
