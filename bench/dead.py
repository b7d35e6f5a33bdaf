"""Enrollments through a CA that works, alone and while another CA takes connections and never answers: both profiles of
one gateway, rounds that take turns. The dead CA's devices ask and poll five times a second, four at a time."""
import argparse
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../tests/flow"))

from flow_upstream_dead import Pair  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=300)
    options = parser.parse_args()
    bench = Pair()
    try:
        bench.rate(50)
        alone, beside = [], []
        for _ in range(options.rounds):
            alone.append(bench.rate(options.count))
            beside.append(bench.rate_beside_dead(options.count))
            print(f"alone {alone[-1]:6.1f}/s   beside a dead CA {beside[-1]:6.1f}/s   ratio {beside[-1] / alone[-1]:.2f}", flush=True)
        print(f"median ratio {statistics.median(b / a for a, b in zip(alone, beside)):.2f}")
    finally:
        bench.close()


if __name__ == "__main__":
    main()
