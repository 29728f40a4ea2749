#!/usr/bin/env python3
"""Goes through the steps of sglang's own check of the expert distribution recorder against a server of ours.

    Tools/sglang/check_expert_distribution.py .build/release/switchyard

For each mode: start the server with the flags of sglang's users, start recording, generate, stop, dump, open the file; then
what follows from the definitions: sums per layer, start and stop twice, dump twice, the same text with the recorder off.
Needs `requests`. Opens the files with torch if it is installed, else with the server's own `experts convert`.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import requests

PROMPT = "The capital of France is"
NEW_TOKENS = 32


@contextlib.contextmanager
def server(binary, folder, mode, port):
    """A running server whose dumps go to `folder`."""
    command = [
        binary, "serve", "--port", str(port), "--trust-remote-code", "--tp-size", "1",
        "--expert-distribution-recorder-mode", mode, "--disable-cuda-graph", "--disable-overlap-schedule",
    ]
    environment = {**os.environ, "SGLANG_EXPERT_DISTRIBUTION_RECORDER_DIR": folder}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in process.stdout:
            if "fired up and ready to roll" in line:
                break
        else:
            raise SystemExit("the server ended while starting")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(timeout=60)
        assert status == 0, f"the server ended with status {status}"


def post(url, path, expected):
    reply = requests.post(f"{url}/{path}", timeout=60)
    assert reply.status_code == 200, (path, reply.status_code, reply.text)
    assert reply.text == expected + "\n", (path, reply.text)


def start(url):
    post(url, "start_expert_distribution_record", "Start recording the expert distribution.")


def stop(url):
    post(url, "stop_expert_distribution_record", "Stop recording the expert distribution.")


def dump(url):
    post(url, "dump_expert_distribution_record", "Dump expert distribution record.")


def generate(url):
    body = {"text": PROMPT, "sampling_params": {"temperature": 0, "max_new_tokens": NEW_TOKENS, "ignore_eos": True}}
    reply = requests.post(f"{url}/generate", json=body, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()


def load(binary, path):
    """The file's dictionary, by torch or as JSON."""
    try:
        import torch
    except ImportError:
        out = path.with_suffix(".json")
        subprocess.run([binary, "experts", "convert", str(path), "-o", str(out)], check=True, capture_output=True)
        data = json.loads(out.read_text())
        out.unlink()
        return data
    return torch.load(path, weights_only=True)


def total(value):
    """The sum of nested lists or of a tensor."""
    if isinstance(value, list):
        return sum(total(item) for item in value)
    return int(value.sum()) if hasattr(value, "sum") else int(value)


def check(binary, mode, port, silent):
    """All steps in one mode; returns the text."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with server(binary, name, mode, port) as url:
            start(url)
            reply = generate(url)
            top_k = requests.get(f"{url}/expert_distribution", timeout=60).json()["top_k"]
            stop(url)
            dump(url)
            files = sorted(folder.glob("*.pt"))
            assert len(files) == 1, files
            data = load(binary, files[0])
            assert data, "the dump is empty"
            tokens = reply["meta_info"]["prompt_tokens"] + reply["meta_info"]["completion_tokens"] - 1
            if mode == "stat":
                counts = data["logical_count"]
                assert total(counts) > 0
                per_layer = {total(counts[:, layer]) if hasattr(counts, "shape") else
                             sum(total(row[layer]) for row in counts) for layer in range(len(counts[0]))}
                assert per_layer == {tokens * top_k}, per_layer
            # What follows from the definitions.
            start(url)
            start(url)
            stop(url)
            stop(url)
            generate(url)  # not recorded
            report = requests.get(f"{url}/expert_distribution", timeout=60).json()
            assert report["passes"] == 0 and report["mode"] == mode, report
            dump(url)
            dump(url)
            assert len(list(folder.glob("*.pt"))) == 3
            assert requests.get(f"{url}/dump_expert_distribution_record", timeout=60).status_code == 200
    assert silent is None or reply["text"] == silent, "the recorder changed the text"
    print(f"{mode}: {tokens} tokens recorded, text as without a recorder")


def main():
    binary = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else ".build/release/switchyard")
    port = int(os.environ.get("PORT", "30118"))
    with tempfile.TemporaryDirectory() as name, server(binary, name, "off", port) as url:
        silent = generate(url)["text"]
        refused = requests.post(f"{url}/start_expert_distribution_record", timeout=60)
        assert refused.status_code == 400 and "--expert-distribution-recorder-mode" in refused.text, refused.text
    for mode in ("stat", "stat_approx", "per_pass", "per_token"):
        check(binary, mode, port, silent)


if __name__ == "__main__":
    main()
