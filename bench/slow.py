"""Ten thousand hostile connections of each kind at the release binary, and how long new clients wait meanwhile, from
another address and from the attackers' own; then what idle connections cost in memory.

Figures are of this machine, on which attackers and gateway share the cores. As root the newcomers come first. A row in
which the kernel dropped packets of the loopback device shows its retransmissions as well, and is not judged."""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../tests/flow"))

from flow_slow import under_attack  # noqa: E402
from gateway import Gateway  # noqa: E402
from hostile import KINDS  # noqa: E402
import flow_slow  # noqa: E402


def started_normally():
    """Attackers and the gateway are not to inherit the newcomers' priority."""
    os.setpriority(os.PRIO_PROCESS, 0, 0)


def started(limits, more=""):
    gw = Gateway()
    with open(gw.conf, "a", encoding="utf-8") as file:
        file.write(f"limits: {{per_address: 0, {limits}}}\n{more}")
    gw.start()
    for thread in os.listdir(f"/proc/{gw.process.pid}/task"):
        os.setpriority(os.PRIO_PROCESS, int(thread), 0)
    return gw


def dropped():
    """Packets that the kernel's loopback queue has dropped; each is sent again only after 200 ms or a second."""
    with open("/proc/net/softnet_stat", encoding="ascii") as file:
        return sum(int(line.split()[1], 16) for line in file)


def attacks(count, seconds, bound):
    late = []
    print(f"{'attack':18} {'open':>6} {'median ms':>10} {'worst http':>11} {'worst tls':>10} {'worst admin':>12} "
          f"{'dropped':>8}")
    for kind in KINDS:
        if kind == "half-proxy":
            continue
        for crowd in (16, count):
            gw = started("first: 10s")
            drops = dropped()
            try:
                newcomer, opened = under_attack(kind, crowd, gw, seconds)
            finally:
                gw.close()
            drops = dropped() - drops
            worst = {name: 1000 * max(waits) for name, waits in newcomer.waits.items()}
            print(f"{kind:18} {opened:6} {1000 * newcomer.median():10.1f} {worst['http']:11.1f} {worst['tls']:10.1f} "
                  f"{worst['admin']:12.1f} {drops:8}", flush=True)
            if newcomer.worst() > bound and not drops:
                late.append(f"{kind} {crowd}")
    return late


def memory(counts):
    print(f"\n{'idle connections':18} {'count':>6} {'MiB':>8} {'KiB each':>9}")
    for kind, name in (("silent", "plain"), ("idle-kept", "TLS")):
        for count in counts:
            gw = started("first: 10m, idle: 10m")
            try:
                before = gw.resident()
                with flow_slow.attack(kind, count, gw, 600) as process:
                    opened = int(process.stdout.readline())
                    time.sleep(1)
                    grown = gw.resident() - before
                    process.stdin.close()
            finally:
                gw.close()
            print(f"{name:18} {opened:6} {grown / 1024:8.1f} {grown / opened:9.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench slow", description=__doc__)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--bound", type=float, default=0.1, help="seconds that a new client may wait at most")
    args = parser.parse_args()
    try:
        os.nice(-10)  # a newcomer has a machine of its own, and does not wait for the attackers' computing
        flow_slow.NICE = started_normally
    except PermissionError:
        pass
    late = attacks(args.count, args.seconds, args.bound)
    memory((args.count // 10, args.count))
    if late:
        sys.exit("too late: " + ", ".join(late))


if __name__ == "__main__":
    main()
