#!/usr/bin/env python3
"""Switchyard and llama.cpp in turn, on the same model and machine; prints ratios of medians.

    Benchmarks/against-llama.cpp --model DIR --llama BUILD/bin --gguf FILE [--gguf FILE ...]

--model is a Hugging Face folder, each --gguf the same model for llama.cpp (bf16, f16, Q8_0, Q4_K_M, ...). In every
round each engine computes every case once: ours with `switchyard bench model`, theirs with llama-batched-bench (decode:
sequences behind a context) and llama-bench (prompt). Run it on a quiet machine; numbers of different runs do not compare.
"""
import argparse
import json
import os
import subprocess
import sys

import alternate

TOKENS = 16  # that llama-batched-bench decodes of each sequence


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def ours(args):
    """Tokens per second of each case, ("decode", sequences) or ("prompt", tokens)."""
    text = run(
        args.switchyard, "bench", "model", "--json", "--model-path", args.model, "--batch", args.batch, "--prompt",
        args.prompt, "--context", str(args.context), "--threads", str(args.threads), *args.ours.split())
    cases = json.loads(text)["cases"]
    return {(c["work"], c["sequences" if c["work"] == "decode" else "tokens"]): c["tokens_per_second"] for c in cases}


def theirs(args, gguf):
    found = {}
    batches, prompts = ([int(n) for n in text.split(",") if int(n)] for text in (args.batch, args.prompt))
    if batches:
        text = run(
            os.path.join(args.llama, "llama-batched-bench"), "-m", gguf, "-t", str(args.threads), "-npp",
            str(args.context), "-ntg", str(TOKENS), "-npl", ",".join(map(str, batches)), "-c",
            str(max(batches) * (args.context + TOKENS)), "--output-format", "jsonl")
        for line in text.splitlines():
            if line.startswith("{"):
                row = json.loads(line)
                found["decode", row["pl"]] = row["speed_tg"]
    if prompts:
        text = run(
            os.path.join(args.llama, "llama-bench"), "-m", gguf, "-t", str(args.threads), "-p",
            ",".join(map(str, prompts)), "-n", "0", "-r", "2", "-o", "json")
        for row in json.loads(text):
            found["prompt", row["n_prompt"]] = row["avg_ts"]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    alternate.add_arguments(parser, "llama-bench and llama-batched-bench")
    parser.add_argument("--batch", default="1,4,8,16,32", help="sequences that decode together (%(default)s)")
    parser.add_argument("--prompt", default="512", help="tokens in a prompt (%(default)s)")
    parser.add_argument("--context", type=int, default=128, help="tokens before those decoded (%(default)s)")
    parser.add_argument("--ours", default="--seconds 1", help="further arguments for bench model (%(default)s)")
    args = parser.parse_args()
    middle = alternate.medians(args, lambda gguf, _: theirs(args, gguf) if gguf else ours(args))
    print("tokens/s, medians; ratio: switchyard to it")
    alternate.show(args, middle)


if __name__ == "__main__":
    main()
