"""The search as a LitServe application: `python -m load_tests.peers.litserve.app`.

As its documentation advises for a CPU: a batch size and a timeout on the API, a worker for each core, the queue between
HTTP and workers left to it. Rule: only what LitServe documents is used; cell and port come through the environment.
"""

from collections.abc import Sequence
from typing import Annotated

import litserve
from fastapi import Body

from load_tests.peers.cells import Seat, seat
from load_tests.peers.pipeline import Answer, Search

BATCH_TIMEOUT_S = 0.01
CALL_TIMEOUT_S = 10.0


class LensAPI(litserve.LitAPI):
    """All steps of a search in each worker; batches are of photos."""

    def __init__(self, place: Seat) -> None:
        batch = place.cell.batch
        super().__init__(max_batch_size=batch, batch_timeout=BATCH_TIMEOUT_S if batch > 1 else 0.0)
        self._place = place

    def setup(self, device: str) -> None:
        """Loads models and catalog in the worker."""
        self._search = Search(self._place.world, self._place.cell.threads)

    def decode_request(self, request: Annotated[bytes, Body()]) -> bytes:
        """The photo as it came; it is decoded with the others of its batch."""
        return request

    def batch(self, inputs: Sequence[bytes]) -> Sequence[bytes]:
        """Photos differ in size, so they stay a list."""
        return inputs

    def predict(self, photos: Sequence[bytes] | bytes) -> list[Answer] | Answer:
        """One answer a photo; without batching LitServe gives and takes a single one."""
        if isinstance(photos, bytes):
            return self._search.run([photos])[0]
        return self._search.run(photos)

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        """One answer a photo."""
        return output

    def encode_response(self, output: Answer) -> Answer:
        """LitServe writes the JSON."""
        return output


def main() -> None:
    """Serves until it is stopped."""
    place = seat()
    server = litserve.LitServer(
        LensAPI(place), accelerator="cpu", devices=1, workers_per_device=place.cell.workers, timeout=CALL_TIMEOUT_S
    )
    server.run(host="127.0.0.1", port=place.port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
