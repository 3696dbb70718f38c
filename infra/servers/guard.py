"""A server's guard: starts it, and ends it when the one who asked for it is gone.

Standard input is the lifeline. It closes when its owner dies, however it dies, so nothing is ever left behind; a byte on
it says that the server may stay. On Linux a server ends when its guard is killed, too.
Runs by itself (`python guard.py '{"command": […], …}'`), prints the server's process id, imports nothing of ours.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(spec: str) -> int:
    asked = json.loads(spec)
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def end_with_guard() -> None:
        if libc:
            libc.prctl(PR_SET_PDEATHSIG, asked["stop_signal"])

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
            preexec_fn=end_with_guard,  # follows the thread that starts it: this one, which waits to the end
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
        if not os.read(0, 1):
            end()

    threading.Thread(target=hold_lifeline, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end, daemon=True).start())
    return server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
