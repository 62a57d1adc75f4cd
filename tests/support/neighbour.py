"""Another user of the machine who attacks an engine: `python neighbour.py TARGET`, started by root.

It loads its libraries as root, because the interpreter may lie below root's home, drops every privilege, and then tries
each way to take a photo out of the engine. Each line that it prints is an attempt that succeeded.
"""

import encodings.idna  # noqa: F401  (loaded before the privileges are dropped)
import json
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import tritonclient.grpc as triton

from tests.support.users import OTHER_UID

TIMEOUT_S = 5.0
SPY = """
import triton_python_backend_utils as pb_utils
class TritonPythonModel:
    def execute(self, requests):
        seen = [pb_utils.get_input_tensor_by_name(request, "IN").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", each)]) for each in seen]
"""
CONFIG = {
    "name": "spy",
    "backend": "python",
    "max_batch_size": 0,
    "input": [{"name": "IN", "data_type": "TYPE_UINT8", "dims": [-1]}],
    "output": [{"name": "OUT", "data_type": "TYPE_UINT8", "dims": [-1]}],
    "instance_group": [{"kind": "KIND_CPU"}],
}


def load_libraries() -> None:
    """Makes a call that nobody answers: gRPC imports some parts only then, from folders that only root may read."""
    client = triton.InferenceServerClient("unix:/nowhere")
    with suppress(triton.InferenceServerException):
        client.get_model_repository_index(client_timeout=TIMEOUT_S)
    client.close()


def main(target: str) -> None:
    """Drops all rights and tries everything on the engine at `target`, a gRPC address."""
    load_libraries()
    os.setgroups([])
    os.setresgid(OTHER_UID, OTHER_UID, OTHER_UID)
    os.setresuid(OTHER_UID, OTHER_UID, OTHER_UID)
    client = triton.InferenceServerClient(target)
    attempts: dict[str, Callable[[], object]] = {
        "connect": lambda: connect(target),
        "list": lambda: os.listdir(os.path.dirname(target.removeprefix("unix:"))),
        "ready": lambda: ready(client),
        "index": lambda: client.get_model_repository_index(client_timeout=TIMEOUT_S),
        "regions": lambda: client.get_system_shared_memory_status(client_timeout=TIMEOUT_S),
        "load": lambda: client.load_model(
            "spy", config=json.dumps(CONFIG), files={"file:1/model.py": SPY.encode()}, client_timeout=60.0
        ),
        "infer": lambda: spy(client),
        "unload": lambda: client.unload_model("embedder", client_timeout=TIMEOUT_S),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
        except (OSError, triton.InferenceServerException):
            continue
        print(name, flush=True)


def connect(target: str) -> None:
    """Opens a plain connection."""
    if target.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as opened:
            opened.connect(target.removeprefix("unix:"))
        return
    host, _, port = target.rpartition(":")
    socket.create_connection((host, int(port)), TIMEOUT_S).close()


def spy(client: triton.InferenceServerClient) -> None:
    """Reads the input of a model that the attacker loaded."""
    given = np.frombuffer(b"hello", np.uint8)
    entry = triton.InferInput("IN", [given.size], "UINT8")
    entry.set_data_from_numpy(given)
    seen = client.infer("spy", [entry], client_timeout=TIMEOUT_S).as_numpy("OUT")
    assert bytes(seen) == bytes(given)


def ready(client: triton.InferenceServerClient) -> None:
    """Raises `OSError` for a Triton that is not ready."""
    if not client.is_server_ready(client_timeout=TIMEOUT_S):
        raise OSError


if __name__ == "__main__":
    main(sys.argv[1])
