"""What hammers have in common: programs that are killed and begun again, and the servers that they draw from."""

import os
import subprocess
import sys
import time
from pathlib import Path

from servers import (
    PATIENCE,
    REDIS,
    PostgresServer,
    RedisCluster,
    RedisServer,
    postgres_programs,
    require,
    require_psycopg,
    require_redis,
)

FOLDER = Path(__file__).parent


def postgres():
    require_psycopg()
    require(postgres_programs(), "a PostgreSQL server")
    return PostgresServer(), "", 1


def redis():
    require_redis()
    require(REDIS, "a Redis server")
    return RedisServer(), "?lease=3", 1


def cluster():
    require_redis()
    require(REDIS, "a Redis server")
    # It is away for two seconds when it has begun again.
    return RedisCluster(), "?lease=6&patience=60", 20


def lines(path):
    """Return the lines of a file that programs write; none, if nothing was written."""
    return path.read_text().splitlines() if path.exists() else []


class Workers:
    """Programs of one kind, by their numbers; with the block they end."""

    def __init__(self, script):
        self._script = str(FOLDER / script)
        self._processes = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._processes.values():
            process.kill()
            process.wait(PATIENCE)
            process.stderr.close()

    def start(self, number, *told, **environment):
        """Begin one, with what it is told."""
        command = [sys.executable, self._script, *map(str, told)]
        self._processes[number] = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, **environment})

    def kill(self, number):
        """Kill one in the middle of whatever it does; it had nothing to complain of."""
        self._processes[number].kill()
        _, said = self._processes[number].communicate(timeout=PATIENCE)
        assert said == b""

    def kill_all(self):
        """Kill all that there are."""
        for number in self._processes:
            self.kill(number)

    def until_written(self, path, count):
        """Wait until so many lines stand in a file that programs write, all of which are alive."""
        until = time.monotonic() + 10 * PATIENCE
        while len(lines(path)) < count:
            assert time.monotonic() < until
            assert all(process.poll() in {None, 0} for process in self._processes.values())
            time.sleep(0.01)

    def finish(self):
        """Wait for the good end of all."""
        for process in self._processes.values():
            _, said = process.communicate(timeout=20 * PATIENCE)
            assert (process.returncode, said) == (0, b"")
