"""Write the ONNX graphs of the package, impasto/assets/instant-*.onnx. Run it when the network or its code changes.

python scripts/write_graphs.py
"""

from __future__ import annotations

from impasto.fast import graphs

if __name__ == "__main__":
    for name, data in graphs.made():
        graphs.file_of(name).write_bytes(data)
        print(f"{graphs.file_of(name).name}: {len(data) / 1000:.1f} kB")
