"""How many portraits a second: `python tests/benchmarks/renderer.py [--compile]`. Quote it with the hardware it prints.

Not a test: a speed that a shared machine happened to have says little about the code.
"""

import argparse
import time

import torch

from facelib.data.synthetic import render, sample_factors
from facelib.pretrained import hardware


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compile", action="store_true", help="with torch.compile; the first call takes minutes")
    parser.add_argument("--faces", type=int, default=128)
    parser.add_argument("--size", type=int, default=64)
    given = parser.parse_args()
    factors = sample_factors(given.faces, seed=1)
    start = time.perf_counter()
    render({k: v[:16] for k, v in factors.items()}, given.size, compile=given.compile)
    print(f"first 16 faces, with all that is done once: {time.perf_counter() - start:.1f} s", flush=True)
    for _ in range(3):
        start = time.perf_counter()
        render(factors, given.size, compile=given.compile)
        print(f"{given.faces / (time.perf_counter() - start):.1f} images/s at {given.size} px, "
              f"{'compiled' if given.compile else 'eager'}; {hardware()}, {torch.get_num_threads()} threads", flush=True)


if __name__ == "__main__":
    main()
