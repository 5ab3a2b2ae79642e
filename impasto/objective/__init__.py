"""How a sum of losses is evaluated: at once, recorded as a CUDA graph, or in blocks; in smaller blocks when memory runs out."""
