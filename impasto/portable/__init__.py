"""Quality "instant" without torch: the network's ONNX graphs, numpy and Pillow."""
