"""A user's program whose keys are frozen; it prints one however it is run."""

import multiprocessing
import sys
import threading

from memollm import Cache

SYSTEM = "Be brief."


@Cache("memory:").cached_llm(namespace="golden")
def ask(prompt, *, model="m", temperature=1.0):
    return f"{SYSTEM} {prompt}"


def key():
    return ask.key([{"role": "user", "content": "hi"}], model="gpt")


def tell(queue):
    queue.put(key())


def in_thread():
    keys = []
    thread = threading.Thread(target=lambda: keys.append(key()))
    thread.start()
    thread.join()
    return keys[0]


def in_process():
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=tell, args=(queue,))
    process.start()
    found = queue.get()
    process.join()
    return found


if __name__ == "__main__":
    print({"main": key, "thread": in_thread, "process": in_process}[sys.argv[1]]())
