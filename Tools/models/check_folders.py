#!/usr/bin/env python3
"""Load every model folder and generate four tokens: what make_checkpoint.py wrote, or any others.

    python3 make_checkpoint.py all --out models --tiny
    python3 check_folders.py models .build/release/switchyard
"""

import json
import pathlib
import subprocess
import sys


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folders = sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/config.json"))
    if not folders:
        sys.exit(f"{sys.argv[1]}: no folder with a config.json")
    for folder in folders:
        check = subprocess.run([sys.argv[2], "models", "check", folder, "--json"], stdout=subprocess.PIPE, check=False)
        report = json.loads(check.stdout)
        if check.returncode != 0 or report["problems"]:
            sys.exit(f"{folder}: {report['problems'] or 'does not fit'}")
        run = subprocess.run(
            [sys.argv[2], "generate", "--model-path", folder, "--prompt", "The import of 12 words", "--max-new-tokens",
             "4", "--temperature", "0", "--json"], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"{folder}: {run.stderr}")
        tokens = json.loads(run.stdout)["output_ids"]
        if not 1 <= len(tokens) <= 4:
            sys.exit(f"{folder}: {len(tokens)} tokens")
        print(f"{folder.name}: {report['architecture']}, {report['parameters']} parameters, tokens {tokens}")


if __name__ == "__main__":
    main()
