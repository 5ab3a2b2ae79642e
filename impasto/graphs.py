"""An objective recorded as a CUDA graph: of small pictures a GPU computes a layer in less time than it takes to be told to."""

from __future__ import annotations

import torch
from torch import Tensor

from impasto import devices
from impasto.optimize import Summands, numbers, slope

REHEARSALS = 2  # times that everything is computed before it is recorded: libraries choose and set up at the first


class Recorded:
    """Losses and gradient of an objective, computed once to be recorded and replayed from then on; for pictures of one size on CUDA.

    The objective must do the same work for every picture and never wait for the device.
    """

    def __init__(self, objective: Summands) -> None:
        self.objective = objective
        self.graph: torch.cuda.CUDAGraph | None = None

    def evaluate(self, picture: Tensor) -> tuple[dict[str, float], Tensor]:
        """The losses by name, and the gradient of their sum to the picture, 1x3xHxW."""
        if self.graph is None:
            self.graph = self._record(picture)
        self.seen.copy_(picture)
        self.graph.replay()
        return numbers(self.losses), self.gradient.clone()  # the next replay writes into the same place

    def _record(self, picture: Tensor) -> torch.cuda.CUDAGraph:
        self.seen = picture.detach().clone()
        stream = torch.cuda.Stream(picture.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(picture.device))
        with torch.cuda.stream(stream):
            for _ in range(REHEARSALS):
                slope(self.objective, self.seen)
        torch.cuda.current_stream(picture.device).wait_stream(stream)
        devices.free(picture.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may go on using the device
            self.losses, self.gradient = slope(self.objective, self.seen)
        return graph
