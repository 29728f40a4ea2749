#!/usr/bin/env python3
"""Goes through what the `openai` package does, against a server of ours.

    python3 -m venv venv && venv/bin/pip install openai
    venv/bin/python Tools/openai/check_client.py .build/release/switchyard

Completions, chat, streams, log-probabilities, usage, samples, models, raw replies, parallel and asynchronous use, and
every error that has a class of its own. A check that fails ends the script with a traceback.
"""

import asyncio
import concurrent.futures
import os
import pathlib
import sys

import openai

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from served import serve  # noqa: E402

KEY = "a-key"
MODEL = "demo"
HELLO = [{"role": "user", "content": "Who are you?"}]
CODE = "import os\nimport sys\n\n\ndef main():\n"


def check_models(client):
    models = client.models.list().data
    assert [model.id for model in models] == [MODEL], models
    assert models[0].object == "model" and models[0].created > 0
    assert client.models.retrieve(MODEL).id == MODEL
    error = refused(openai.NotFoundError, "another", client.models.retrieve, "another")
    assert error.code == "model_not_found" and error.param == "model"


def check_completions(client):
    reply = client.completions.create(model=MODEL, prompt=CODE, max_tokens=8, temperature=0)
    assert reply.object == "text_completion" and reply.model == MODEL
    choice = reply.choices[0]
    assert choice.text and choice.finish_reason == "length" and choice.logprobs is None
    assert reply.usage.completion_tokens == 8
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 8
    again = client.completions.create(model=MODEL, prompt=CODE, max_tokens=8, temperature=0)
    assert again.choices[0].text == choice.text, "greedy text differs from one request to the next"

    streamed = list(client.completions.create(
        model=MODEL, prompt=CODE, max_tokens=8, temperature=0, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in streamed if chunk.choices) == choice.text
    assert streamed[-1].choices == [] and streamed[-1].usage == reply.usage, streamed[-1]
    assert [chunk.choices[0].finish_reason for chunk in streamed[:-1]][-1] == "length"

    several = client.completions.create(model=MODEL, prompt=[CODE, "Hello"], n=2, max_tokens=4, seed=1, temperature=1)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    repeated = client.completions.create(model=MODEL, prompt=[CODE, "Hello"], n=2, max_tokens=4, seed=1, temperature=1)
    assert [c.text for c in several.choices] == [c.text for c in repeated.choices], "a seed must repeat its samples"

    scored = client.completions.create(model=MODEL, prompt=CODE, max_tokens=2, temperature=0, logprobs=3, echo=True)
    logprobs = scored.choices[0].logprobs
    assert scored.choices[0].text.startswith(CODE)
    assert len(logprobs.tokens) == scored.usage.total_tokens == len(logprobs.token_logprobs)
    assert logprobs.token_logprobs[0] is None and all(value <= 0 for value in logprobs.token_logprobs[1:])
    assert all(len(top) == 3 for top in logprobs.top_logprobs[1:])

    biased = client.completions.create(
        model=MODEL, prompt=CODE, max_tokens=3, temperature=0, logit_bias={"100": 100}, logprobs=0)
    assert len(set(biased.choices[0].logprobs.tokens)) == 1, "a bias of 100 must win"
    stopped = client.completions.create(model=MODEL, prompt=CODE, max_tokens=40, temperature=0, stop=["("])
    assert stopped.choices[0].finish_reason == "stop" and "(" not in stopped.choices[0].text
    ids = client.completions.create(model=MODEL, prompt=[1, 2, 3], max_tokens=1)
    assert ids.usage.prompt_tokens == 3


def check_chat(client):
    reply = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=12, temperature=0)
    assert reply.object == "chat.completion"
    message = reply.choices[0].message
    assert message.role == "assistant" and message.content and not message.tool_calls
    assert reply.usage.completion_tokens <= 12
    parts = [{"role": "system", "content": "Be short."},
             {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]}]
    assert client.chat.completions.create(model=MODEL, messages=parts, max_completion_tokens=2).usage.completion_tokens <= 2

    streamed = list(client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=12, temperature=0, stream=True, stream_options={"include_usage": True}))
    assert streamed[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices)
    assert text == message.content, (text, message.content)
    assert streamed[-1].usage == reply.usage
    assert len({chunk.id for chunk in streamed}) == 1

    scored = client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2)
    content = scored.choices[0].logprobs.content
    assert len(content) == scored.usage.completion_tokens
    assert all(len(entry.top_logprobs) == 2 and entry.logprob <= 0 for entry in content)
    assert content[0].top_logprobs[0].token == content[0].token

    with client.chat.completions.stream(model=MODEL, messages=HELLO, temperature=0) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        assert stream.get_final_completion().choices[0].message.content == text
        assert text.startswith(message.content)

    with client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=200, stream=True) as stream:
        next(iter(stream))  # and leave: the server must not mind

    extra = client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=2, extra_body={"top_k": 1, "ignore_eos": True, "return_routed_experts": True})
    assert extra.usage.completion_tokens == 2
    assert extra.model_extra["sglext"]["routed_experts"]

    raw = client.with_raw_response.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=2)
    assert raw.headers["content-type"] == "application/json" and raw.parse().choices


def refused(kind, word, call, *arguments, **fields):
    """`call` must raise `kind`, and its message must contain `word`."""
    try:
        call(*arguments, **fields)
    except kind as error:
        assert word in str(error), f"{word!r} is not in {error}"
        return error
    raise AssertionError(f"{kind.__name__} expected")


def check_errors(client, url):
    chat = client.chat.completions.create
    error = refused(openai.BadRequestError, "temperature", chat, model=MODEL, messages=HELLO, temperature=-1)
    assert error.status_code == 400 and error.param == "temperature" and error.type == "invalid_request_error"
    refused(openai.BadRequestError, "messages", chat, model=MODEL, messages=[])
    refused(openai.BadRequestError, "image_url", chat, model=MODEL, messages=[
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}])
    refused(openai.BadRequestError, "response_format", chat, model=MODEL, messages=HELLO,
            response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {}}})
    complete = client.completions.create
    refused(openai.BadRequestError, "suffix", complete, model=MODEL, prompt="a", suffix="b")
    refused(openai.BadRequestError, "best_of", complete, model=MODEL, prompt="a", best_of=3)
    refused(openai.BadRequestError, "regex", complete, model=MODEL, prompt="a", extra_body={"regex": "a*"})
    error = refused(openai.BadRequestError, "tokens", complete, model=MODEL, prompt="word " * 20000)
    assert "fit" in error.message
    stranger = openai.OpenAI(base_url=url + "/v1", api_key="wrong", max_retries=0)
    refused(openai.AuthenticationError, "401", stranger.models.list)
    refused(openai.InternalServerError, "not part of this version", client.embeddings.create, model=MODEL, input="a")


def check_parallel(client):
    def ask(number):
        reply = client.completions.create(model=MODEL, prompt=f"Number {number}:", max_tokens=6, temperature=0)
        return reply.choices[0].text

    alone = [ask(number) for number in range(4)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, list(range(4)) * 4))
    assert together == alone * 4, "a text depends on what else runs"


async def check_async(url):
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0) as client:
        async def ask():
            text = ""
            async for chunk in await client.chat.completions.create(
                    model=MODEL, messages=HELLO, max_tokens=8, temperature=0, stream=True):
                text += chunk.choices[0].delta.content or ""
            return text

        texts = await asyncio.gather(*(ask() for _ in range(16)))
        assert len(set(texts)) == 1 and texts[0], set(texts)


def main():
    binary = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else ".build/release/switchyard")
    with serve(binary, "--served-model-name", MODEL, "--api-key", KEY) as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0, timeout=60)
        check_models(client)
        check_completions(client)
        check_chat(client)
        check_errors(client, server.url)
        check_parallel(client)
        asyncio.run(check_async(server.url))
        client.close()
    print(f"openai {openai.__version__}: models, completions, chat, streams, errors and parallel use hold")


if __name__ == "__main__":
    main()
