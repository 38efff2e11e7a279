"""A network that takes its time, in a process of its own: `python -m benchmarks._delaying PORT SECONDS`."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Chunks = queue.SimpleQueue[tuple[float, bytes]]


@contextmanager
def delaying(port: int, seconds: float) -> Iterator[int]:
    """Give a port of loopback that leads to another, where each way takes so many seconds more."""
    command = [sys.executable, "-m", "benchmarks._delaying", str(port), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline()) if process.stdout else 0
        finally:
            process.terminate()


@contextmanager
def counting(port: int) -> Iterator[tuple[int, Callable[[], int]]]:
    """Give a port of loopback that leads to another, and what tells how many bytes have come back from there."""
    sent = [0]

    def back(source: socket.socket, sink: socket.socket, *, counts: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sent[0] += len(data) if counts else 0
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                for source, sink, counts in ((client, server, False), (server, client, True)):
                    threading.Thread(target=back, args=(source, sink), kwargs={"counts": counts}, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        try:
            yield listener.getsockname()[1], lambda: sent[0]
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def receive(source: socket.socket, chunks: Chunks, seconds: float) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            chunks.put((time.monotonic() + seconds, data))
    chunks.put((0.0, b""))


def deliver(sink: socket.socket, chunks: Chunks) -> None:
    """Send each chunk when it is due, so that what follows it does not wait for two."""
    with suppress(OSError):
        while data := (chunk := chunks.get())[1]:
            time.sleep(max(0.0, chunk[0] - time.monotonic()))
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)
    sink.close()


def pass_on(client: socket.socket, port: int, seconds: float) -> None:
    server = socket.create_connection(("127.0.0.1", port))
    for source, sink in ((client, server), (server, client)):
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        chunks: Chunks = queue.SimpleQueue()
        threading.Thread(target=receive, args=(source, chunks, seconds), daemon=True).start()
        threading.Thread(target=deliver, args=(sink, chunks), daemon=True).start()


def main(port: int, seconds: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            client, _ = listener.accept()
            pass_on(client, port, seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
