#!/usr/bin/env python3
"""Serving: Switchyard and llama-server in turn, on the same model and machine, under the same clients.

    Benchmarks/serving-against-llama.cpp --model DIR --llama BUILD/bin --gguf FILE [--gguf FILE ...]

--model is a Hugging Face folder with a tokenizer, each --gguf the same model for llama-server. In every round each engine
serves once, alone, and `switchyard bench serve` sends it the same random prompts over /v1/completions, for each number of
clients; medians over rounds. Run it on a quiet machine; numbers of different runs do not compare.
"""
import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import alternate


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def command(args, gguf, port):
    if gguf is None:
        return [args.switchyard, "serve", "--model-path", args.model, "--port", str(port), "--threads", str(args.threads),
                "--log-level", "warning", *args.ours.split()]
    most = max(args.clients)
    return [os.path.join(args.llama, "llama-server"), "-m", gguf, "--port", str(port), "-t", str(args.threads), "-np",
            str(most), "-c", str(most * (args.input_len + args.output_len + 64)), "--no-webui", *args.theirs.split()]


def wait_until_ready(server, url, log, patience=300):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if server.poll() is not None:
            log.seek(0)
            said = log.read().decode(errors="replace")[-2000:]
            sys.exit(f"{server.args[0]}: exit code {server.returncode} before it served\n{said}")
        try:
            urllib.request.urlopen(url + "/health", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    sys.exit(f"{server.args[0]}: not ready after {patience} s")


def measure(args, gguf, number):
    """Generated tokens per second and milliseconds to the first, for each number of clients."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = tempfile.TemporaryFile()
    server = subprocess.Popen(command(args, gguf, port), stdout=subprocess.DEVNULL, stderr=log)
    found = {}
    try:
        wait_until_ready(server, url, log)
        for clients in args.clients:
            prompts = max(args.prompts, 2 * clients)
            done = subprocess.run(
                [args.switchyard, "bench", "serve", "--base-url", url, "--backend", "openai", "--num-prompts",
                 str(prompts), "--max-concurrency", str(clients), "--input-len", str(args.input_len), "--output-len",
                 str(args.output_len), "--seed", str(number * 100 + clients), "--json"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            if done.returncode != 0:
                sys.exit(f"bench serve: exit code {done.returncode}\n{done.stderr[-2000:]}")
            report = json.loads(done.stdout)
            if report["failed"]:
                sys.exit(f"{server.args[0]}: {report['problems']}")
            # Exactly so many tokens were asked for; a server may send several as one piece of text.
            found[f"{clients} clients", "tokens/s"] = prompts * args.output_len / report["duration"]
            found[f"{clients} clients", "ms to first"] = report["ttft_ms"]["median"]
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    alternate.add_arguments(parser, "llama-server")
    parser.add_argument("--clients", default=[1, 4, 8], type=lambda text: [int(n) for n in text.split(",")],
                        help="requests under way (1,4,8)")
    parser.add_argument("--prompts", type=int, default=12, help="requests at least (%(default)s)")
    parser.add_argument("--input-len", type=int, default=32, help="tokens of a prompt (%(default)s)")
    parser.add_argument("--output-len", type=int, default=32, help="tokens generated (%(default)s)")
    parser.add_argument("--ours", default="", help="further arguments for serve, such as --quantization int8")
    parser.add_argument("--theirs", default="", help="further arguments for llama-server")
    args = parser.parse_args()
    middle = alternate.medians(args, lambda gguf, number: measure(args, gguf, number))
    print(f"{args.input_len} prompt tokens, {args.output_len} generated; medians of {args.rounds} rounds; ratio: switchyard to it")
    alternate.show(args, middle)


if __name__ == "__main__":
    main()
