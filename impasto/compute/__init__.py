"""What to compute with: devices and precision, memory, tensors in files, and kernels that keep memory and time low."""
