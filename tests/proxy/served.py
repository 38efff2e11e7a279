"""A proxy in a thread of the test, and how it is asked."""

from __future__ import annotations

import ssl
import threading

import uvicorn

from memollm._serving.listening import address_of, listening
from memollm.proxy import Proxy
from memollm.proxy.serving import config_of
from memollm.proxy.settings import settings_of

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Loading certificates, for which nothing here asks, takes longer than most tests."""
CHAT = "/v1/chat/completions"
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


class Served:
    """A proxy that is served while the block is open."""

    def __init__(self, provider, *upstreams, **settings):
        given = {"cache": "memory:", "grace": 30.0, **settings}
        self.settings = settings_of(upstreams or [provider.openai_url], **given)
        self.server = uvicorn.Server(config_of(self.settings))
        self.server.config.load()
        self.metrics = app_of(self.server.config.loaded_app).metrics
        self.thread = threading.Thread(target=self._run, name="proxy")

    def _run(self):
        self.server.run([self._socket])

    def __enter__(self):
        self._socket = listening(self.settings.host, 0)
        self.url = address_of(self.settings.host, self._socket)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join()
        self._socket.close()


def app_of(app):
    """Return the proxy inside of what uvicorn has put around it."""
    while not isinstance(app, Proxy):
        app = app.app
    return app


def chat(client, prompt, *, headers=None, **body):
    """Ask for a chat completion, and return the response."""
    return client.post(CHAT, json={**body_of(prompt), **body}, headers=headers)


def body_of(prompt):
    return {"model": "m", "messages": [{"role": "user", "content": prompt}]}


def said(response):
    assert response.status_code == 200, response.text
    return [choice["message"]["content"] for choice in response.json()["choices"]]


def source(response):
    return response.headers.get("x-memollm")


def error(response):
    """Return the status of an error and the one line that it is."""
    message = response.json()["error"]["message"]
    assert message
    return response.status_code, message
