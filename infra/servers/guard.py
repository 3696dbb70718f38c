"""A server's guard: starts it, and ends it when the one who asked for it is gone.

Standard input is the lifeline. It closes when its owner dies, however it dies, so nothing is ever left behind.
Runs by itself (`python guard.py '{"command": […], …}'`), prints the server's process id, imports nothing of ours.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path


def main(spec: str) -> int:
    asked = json.loads(spec)
    with Path(asked["log"]).open("ab") as log:
        server = subprocess.Popen(
            asked["command"],
            cwd=asked["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=asked["uid"],
            group=asked["gid"],
            extra_groups=None if asked["uid"] is None else [],
        )
    print(server.pid, flush=True)
    os.close(1)

    def end() -> None:
        server.send_signal(asked["stop_signal"])
        try:
            server.wait(asked["patience"])
        except subprocess.TimeoutExpired:
            server.kill()

    def hold_lifeline() -> None:
        while os.read(0, 1):
            pass
        end()

    if asked["lifeline"]:
        threading.Thread(target=hold_lifeline, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end, daemon=True).start())
    return server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
