"""What the proxy answers: what a provider would, from what is stored wherever it can be."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading

import anthropic
import httpx2
import openai
import pytest
from served import CHAT, PLAIN, STREAM, chat, said, source

HI = [{"role": "user", "content": "hi"}]
BODIES = {
    "/v1/chat/completions": {"messages": HI},
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
    "/v1/embeddings": {"input": "hi"},
    "/v1/messages": {"messages": HI, "max_tokens": 10},
}


@pytest.mark.parametrize("path", BODIES)
def test_each_api_is_memoized(client, provider, path):
    """A run that asks again draws another sample; another run gets the first, with its slot and its key."""
    before = provider.calls
    first = client.post(path, json={"model": "m", **BODIES[path]})
    assert (first.status_code, source(first)) == (200, "paid")
    again = client.post(path, json={"model": "m", **BODIES[path]}, headers={"x-memollm-run": "another"})
    assert (again.json(), source(again)) == (first.json(), "hit")
    assert again.headers["x-memollm-slot"] == first.headers["x-memollm-slot"] == "0"
    assert again.headers["x-memollm-key"] == first.headers["x-memollm-key"]
    assert provider.calls == before + 1


def test_a_run_gets_no_sample_twice(client):
    """P1: within a run each answer is another one, and another run reads the same in the same order."""
    answers = [chat(client, "again and again") for _ in range(3)]
    assert len({said(answer)[0] for answer in answers}) == 3
    replayed = [chat(client, "again and again", headers={"x-memollm-run": "replays"}) for _ in range(3)]
    assert [said(each) for each in replayed] == [said(each) for each in answers]
    assert [each.headers["x-memollm-slot"] for each in replayed] == ["0", "1", "2"]


def test_n_asks_only_for_what_is_missing(client, provider):
    """P4: of three choices two are stored, and one is asked for."""
    for _ in range(2):
        chat(client, "n")
    three = chat(client, "n", headers={"x-memollm-run": "three"}, n=3)
    assert len(said(three)) == 3
    assert provider.requests[-1].body.get("n") in {1, None}
    assert (source(three), three.headers["x-memollm-slot"]) == ("paid", "0,1,2")


def test_a_stream_is_passed_on_as_it_comes(client, provider):
    """Its first events are there before the provider has said the last."""
    body = {"model": "m", "messages": [{"role": "user", "content": "slowly"}], **STREAM}
    with provider.held(after=2), client.stream("POST", CHAT, json=body) as response:
        lines = response.iter_lines()
        begun = [next(lines) for _ in range(3)]
        assert source(response) == "paid"
        assert not provider.requests[-1].is_whole
        # From here on it may go on.
        threading.Timer(0, lambda: provider._server.tell(provider._held.set)).start()
        whole = [*begun, *lines]
    again = client.post(CHAT, json=body, headers={"x-memollm-run": "replays"})
    assert (again.text.splitlines(), source(again)) == (whole, "hit")
    assert again.headers["content-type"].startswith("text/event-stream")


def test_a_stream_and_a_whole_answer_are_one_call(client, provider):
    """What came as a stream is given as a body, and the other way round."""
    streamed = chat(client, "both", **STREAM)
    assert "[DONE]" in streamed.text
    whole = chat(client, "both", headers={"x-memollm-run": "whole"})
    assert said(whole) == provider.requests[-1].samples
    assert source(whole) == "hit"


def test_everything_else_passes_through_unstored(client, provider):
    """Other paths and methods are sent on as they are, and so are their answers."""
    for _ in range(2):
        listed = client.get("/v1/models?limit=3", headers={"x-extra": "yes", "connection": "x-hop", "x-hop": "no"})
        assert listed.json()["data"][0]["id"] == "fake-model"
        assert source(listed) is None
    sent = provider.requests[-1]
    assert (sent.method, sent.path, sent.query) == ("GET", "/v1/models", {"limit": "3"})
    assert sent.headers["x-extra"] == "yes"
    assert "x-hop" not in sent.headers
    assert not [name for name in sent.headers if name.startswith("x-memollm")]
    assert sent.headers["host"] == provider.url.removeprefix("http://")
    assert client.delete("/v1/models").status_code == 404
    assert client.post("/v1/nothing", content=b"\x00\xff").status_code == 404


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_errors_are_passed_on_and_not_stored(client, provider, status):
    """An error is the client's, as it is, with what it says of trying again; the position stays open."""
    provider.fail(status, retry_after=7)
    failed = chat(client, f"fails {status}")
    assert (failed.status_code, failed.headers["retry-after"]) == (status, "7")
    assert failed.json()["error"]["message"] == "As planned."
    assert provider.requests[-1].status == status
    assert source(chat(client, f"fails {status}")) == "paid"


def test_what_breaks_off_breaks_off(client, provider):
    """A body that ends too soon is an error of the gateway, a stream breaks where it broke; nothing is stored."""
    provider.cut()
    assert chat(client, "cut").status_code == 502
    provider.cut(after=2)
    with pytest.raises(Exception, match="incomplete chunked read"):
        chat(client, "cut", **STREAM)
    provider.garble()
    assert "gateway" in chat(client, "cut").text
    assert source(chat(client, "cut")) == "paid"
    assert chat(client, "cut", headers={"x-memollm-run": "b"}).headers["x-memollm-slot"] == "0"


def test_answers_wait_for_whoever_is_asking_already(proxy, client, provider):
    """P5: of two runs that ask at once one pays, and the other shares."""
    asked, answers = len(provider.requests), []

    def ask(run):
        answers.append(chat(client, "at once", headers={"x-memollm-run": run}))

    with provider.held():
        threads = [threading.Thread(target=ask, args=(run,)) for run in "ab"]
        for thread in threads:
            thread.start()
        provider.wait_for(asked + 1)
    for thread in threads:
        thread.join()
    assert len({said(answer)[0] for answer in answers}) == 1
    assert sorted(map(source, answers)) in (["paid", "shared"], ["hit", "paid"])
    assert len(provider.requests) == asked + 1


# Real clients.


def test_openai_asks_it(proxy, provider):
    """OpenAI's client changes its address, and retries as ever."""
    http = httpx2.Client(verify=PLAIN)
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=provider.key, http_client=http) as gpt:
        provider.fail(429, retry_after=0.001)
        asked = gpt.chat.completions.create(model="m", messages=HI, extra_headers={"x-memollm-run": "gpt"})
        events = gpt.responses.create(model="m", input="streams", stream=True, extra_headers={"x-memollm-run": "gpt"})
        assert [*events][-1].type == "response.completed"
        assert asked.choices[0].message.content
        assert [model.id for model in gpt.models.list()] == ["fake-model"]
        with pytest.raises(openai.APIStatusError, match="differs in") as missed:
            gpt.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "ho"}], extra_headers={"x-memollm-mode": "offline"}
            )
        assert missed.value.status_code == 424
        assert missed.value.code == "cache_miss"


def test_anthropic_asks_it(proxy, provider):
    """So does Anthropic's."""
    http = httpx2.Client(verify=PLAIN)
    with anthropic.Anthropic(base_url=proxy.url, api_key=provider.key, http_client=http) as claude:
        asked = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "claude"}]}
        whole = claude.messages.create(**asked, extra_headers={"x-memollm-run": "1"}).content[0].text
        with claude.messages.stream(**asked, extra_headers={"x-memollm-run": "2"}) as stream:
            assert stream.get_final_message().content[0].text == whole
        with pytest.raises(anthropic.APIStatusError, match="Nothing is stored") as missed:
            claude.messages.create(**{**asked, "max_tokens": 11}, extra_headers={"x-memollm-mode": "offline"})
        assert missed.value.status_code == 424


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_asks_it(proxy, provider):
    """From a shell, a stream comes event by event."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "curl"}], **STREAM})
    command = ["curl", "-sN", "-D", "-", f"{proxy.url}{CHAT}", "-H", f"authorization: Bearer {provider.key}"]
    command += ["-H", "content-type: application/json", "-d", body, "-H", "x-memollm-run: curl"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    head, _, events = printed.partition("\n\n")
    assert "x-memollm: paid" in head
    assert events.endswith("data: [DONE]\n\n")
