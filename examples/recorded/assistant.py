"""An assistant that asks twice: by a decorated function, whose answers are voted on, and through a wrapped client."""

import os
from collections import Counter

import httpx

import memollm
from memollm import cached_llm

URL = os.environ.get("ASSISTANT_URL", "https://api.openai.com/v1")
"""Where the model is. Its key is in no recording."""


def chat(client: httpx.Client, prompt: str) -> str:
    """Ask the model, with a client of OpenAI's interface; an SDK would do as well."""
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": prompt}]}
    headers = {"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY')}"}
    response = client.post("chat/completions", json=body, headers=headers)
    response.raise_for_status()
    answer: str = response.json()["choices"][0]["message"]["content"]
    return answer


@cached_llm(name="classify", version=1)
def classify(review: str) -> str:
    """Say in a word what a review is."""
    with httpx.Client(base_url=URL) as client:
        return chat(client, f"In one word, is this kind or harsh? {review}").split()[0]


def majority(review: str, votes: int = 5) -> str:
    """Return what most of several answers say."""
    return Counter(classify.draw(votes, review)).most_common(1)[0][0]


def reply(review: str) -> str:
    """Answer a review; nothing is decorated here."""
    with memollm.wrap(httpx.Client(base_url=URL), host=False) as client:
        return chat(client, f"Answer in a sentence: {review}")
