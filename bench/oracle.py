"""Whether the time of an answer tells how an envelope is broken: each way against the others, thousands of times, over one
connection to the release binary. z is the rank statistic against the reference; beyond 4.5 it is no chance."""
import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../tests/flow"))

from gateway import Gateway  # noqa: E402
import oracle  # noqa: E402


SECRET = "FIXEDSECRET234567890"


def messages(gw, args):
    if args.of == "passwords":
        return oracle.broken_passwords(gw, args.copies, SECRET)
    return oracle.broken_messages(gw, args.copies, args.of == "lookups")


def main():
    parser = argparse.ArgumentParser(prog="./dev bench oracle", description=__doc__)
    parser.add_argument("--of", choices=("requests", "lookups", "passwords"), default="requests",
                        help="envelopes in requests, in GetCert, or closed with the fixed challenge")
    parser.add_argument("--rounds", type=int, default=10000)
    parser.add_argument("--copies", type=int, default=50, help="different messages of each kind")
    parser.add_argument("--bound", type=float, default=4.5, help="the largest z that is chance")
    args = parser.parse_args()
    gw = Gateway()
    try:
        if args.of == "passwords":
            oracle.take_fixed(gw, SECRET)
        gw.start()
        times, answers = oracle.measure(gw, messages(gw, args), args.rounds)
    finally:
        gw.close()
    print(f"{'':20} {'quartile us':>12} {'median us':>10} {'quartile +':>11} {'median +':>9} {'z':>7}")
    told, reference = [], oracle.PASSWORD if args.of == "passwords" else oracle.REFERENCE
    for name, quarter, median, more_quarter, more_median, score in oracle.table(times, reference):
        print(f"{name:20} {quarter:12.1f} {median:10.1f} {more_quarter:11.2f} {more_median:9.2f} {score:7.2f}")
        if abs(score) > args.bound:
            told.append(name)
    print(f"{len(answers)} different answers")
    if told or len(answers) != 1:
        sys.exit("told apart: " + (", ".join(told) or "by the answer"))


if __name__ == "__main__":
    main()
