"""A server's guard: starts the server, and ends it when the process that started the guard has ended.

Standard input is the lifeline: it closes when its owner ends, in whatever way, so that no server is left behind. A byte
on it means that the server may stay. On Linux a server also ends when its guard is killed.
Runs by itself (`python guard.py '{"command": […], …}'`), prints the server's process id, imports nothing of this project.
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
    wanted = json.loads(spec)
    os.umask(0o077)  # data and logs are their owner's alone
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def end_with_guard() -> None:
        if libc:
            libc.prctl(PR_SET_PDEATHSIG, wanted["stop_signal"])

    with Path(wanted["log"]).open("ab") as log:
        server = subprocess.Popen(
            wanted["command"],
            cwd=wanted["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=wanted["uid"],
            group=wanted["gid"],
            extra_groups=None if wanted["uid"] is None else [],
            preexec_fn=end_with_guard,  # bound to the thread that starts the server: this one, which waits for its end
        )
    print(server.pid, flush=True)
    os.close(1)

    def end() -> None:
        server.send_signal(wanted["stop_signal"])
        try:
            server.wait(wanted["patience"])
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
