"""An objective recorded as a CUDA graph: a GPU computes the layers of a small image faster than they can be launched one by one."""

from __future__ import annotations

import torch
from torch import Tensor

from impasto.compute import memory
from impasto.objective.evaluate import Evaluated, Summands, differentiate, numbers

WARM_UPS = 2  # evaluations before recording: libraries choose and set up their kernels at the first


class Recorded:
    """Losses and gradient of an objective, recorded at the first evaluation and replayed afterwards; for images of one size on CUDA.

    The losses must do the same work for every image and never wait for the device.
    """

    def __init__(self, losses: Summands) -> None:
        self._summands = losses
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, image: Tensor) -> Evaluated:
        """The losses by name, and the gradient of their sum to the image, 1x3xHxW."""
        if self._graph is None:
            self._graph = self._record(image)
        self._image.copy_(image)
        self._graph.replay()
        return numbers(self._losses), self._gradient.clone()  # the next replay writes to the same place

    def _record(self, image: Tensor) -> torch.cuda.CUDAGraph:
        self._image = image.detach().clone()
        stream = torch.cuda.Stream(image.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(image.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                differentiate(self._summands, self._image)
        torch.cuda.current_stream(image.device).wait_stream(stream)
        memory.release(image.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may go on using the device
            self._losses, self._gradient = differentiate(self._summands, self._image)
        return graph
