"""A `switchyard serve` that runs while a script asks it; shared by the scripts in this folder."""

import contextlib
import signal
import subprocess
import threading


class Served:
    """A running server: its address, its process id, and what it writes."""

    def __init__(self, url, process, lines):
        self.url, self.process, self.lines = url, process, lines


@contextlib.contextmanager
def serve(binary, *flags, environment=None):
    """Starts a server on a free port, and stops it with SIGTERM; its status must be 0."""
    command = [binary, "serve", "--port", "0", *flags]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)
    lines = []
    try:
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if "fired up and ready to roll" in line:
                break
        else:
            raise SystemExit("the server ended while starting:\n" + "\n".join(lines))
        # Nobody may wait for a full pipe.
        threading.Thread(target=lambda: lines.extend(line.rstrip("\n") for line in process.stdout), daemon=True).start()
        yield Served(lines[-1].split()[-1], process, lines)
    except BaseException:
        process.kill()
        raise
    process.send_signal(signal.SIGTERM)
    status = process.wait(timeout=60)
    assert status == 0, f"the server ended with status {status}:\n" + "\n".join(lines[-20:])
