"""A process that has loaded the command line, and forks for each command: starting Python takes longer than most do.

What it forks is a process as any other, with a folder, an environment and streams of its own, and ends as any other.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from importlib import import_module


class ReadyProcess:
    """Runs commands, one at a time; made anew when one hung."""

    def __init__(self, deadline):
        self._deadline = deadline
        self._process = None

    def run(self, arguments, *, folder, environment, stdin):
        """Run `memollm` with arguments; return its exit code and what it wrote on both channels."""
        order = json.dumps([arguments, str(folder), environment])
        with ExitStack() as opened:
            texts = [opened.enter_context(tempfile.TemporaryFile()) for _ in range(4)]
            for file, text in zip(texts, (order, stdin), strict=False):
                file.write(text.encode())
                file.seek(0)
            code = self._ask([file.fileno() for file in texts])
            for file in texts[2:]:
                file.seek(0)
            return code, *(file.read().decode() for file in texts[2:])

    def _ask(self, files):
        if self._process is None:
            self._start()
        try:
            socket.send_fds(self._channel, [b"."], files)
            told = self._channel.recv(16)
            assert told, "the process that forks has ended"
        except BaseException:
            self.close()
            raise
        return int(told)

    def _start(self):
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(self._deadline)
        command = [sys.executable, __file__, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    def close(self):
        """End it, with what it has forked."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            self._channel.close()


def serve(channel):
    """Fork for each order; return the arguments of one in the process that is to obey it, and none at the end."""
    while True:
        _, files, _, _ = socket.recv_fds(channel, 1, 4)
        if not files:
            return None
        child = os.fork()
        if not child:
            channel.close()
            return become(*files)
        for file in files:
            os.close(file)
        _, status = os.waitpid(child, 0)
        channel.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(order, *streams):
    """Take on the streams, folder and environment of an order, and return its arguments."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    with os.fdopen(order, encoding="utf-8") as file:
        arguments, folder, environment = json.load(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = folder
    random.seed()
    return arguments


if __name__ == "__main__":
    from memollm.__main__ import __file__ as program, main
    from memollm.cli._commands import COMMANDS

    for entry in COMMANDS.values():
        import_module(entry.module)
    # What a child looks through at its end, it copies.
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        given = serve(orders)
    if given is not None:
        sys.argv = [program, *given]
        main()
