"""What the comparisons with llama.cpp share: both engines in turn, medians over rounds, and one table."""
import os
import statistics
import sys


def add_arguments(parser, programs):
    parser.add_argument("--switchyard", default=".build/release/switchyard", help="our binary (%(default)s)")
    parser.add_argument("--llama", required=True, help=f"folder of {programs}")
    parser.add_argument("--model", required=True, help="Hugging Face folder")
    parser.add_argument("--gguf", required=True, action="append", help="the same model for llama.cpp; may be repeated")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")


def medians(args, measure):
    """`measure(gguf, round)` for each engine in every round; the middle of each number, {case: [ours, theirs, ...]}.

    gguf is None for Switchyard; a measurement is {case: number}.
    """
    engines = [None, *args.gguf]
    found = {}
    for number in range(args.rounds):
        for engine in engines:
            name = os.path.basename(engine) if engine else "switchyard"
            print(f"\rround {number + 1} of {args.rounds}: {name}\033[K", end="", file=sys.stderr, flush=True)
            for case, value in measure(engine, number).items():
                found.setdefault(case, {}).setdefault(engine, []).append(value)
    print(file=sys.stderr)
    return {case: [statistics.median(values[engine]) for engine in engines] for case, values in found.items()}


def show(args, middle):
    """A row for each case, a tuple of names, with the ratio of ours to each of theirs."""
    names = len(next(iter(middle)))
    rows = [[""] * names + ["switchyard"] + [cell for gguf in args.gguf for cell in (os.path.basename(gguf), "ratio")]]
    for case, (ours, *theirs) in middle.items():
        row = [str(name) for name in case] + [f"{ours:.1f}"]
        for value in theirs:
            row += [f"{value:.1f}", f"{ours / value:.2f} x"]
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
