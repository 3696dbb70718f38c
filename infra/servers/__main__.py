"""By hand: `python -m infra.servers up|down|status|erase`.

`warm` fetches Kafka and lets Java learn how it starts; `lock` writes the list of Kafka's jars anew.
"""

import argparse
import logging
import sys

from infra.servers import Addresses, ServerError, Servers, kafka
from infra.terminal import write_what_can_be_shown


def main() -> int:
    """Do one of them; 1 and a sentence when it cannot be done."""
    write_what_can_be_shown()
    parser = argparse.ArgumentParser(prog="python -m infra.servers", description=__doc__)
    parser.add_argument("what", choices=["up", "down", "status", "erase", "warm", "lock"])
    parser.add_argument("--brokers", type=int, choices=[1, 3], default=1)
    asked = parser.parse_args()
    servers = Servers()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it tries in vain is tried again
    try:
        if asked.what == "up":
            servers.up(brokers=asked.brokers, keep=True, progress=print)
        elif asked.what == "down":
            servers.down()
        elif asked.what == "erase":
            servers.erase()
        elif asked.what == "warm":
            if not Addresses.from_environment().kafka:
                kafka.warm(print)
        elif asked.what == "lock":
            kafka.lock()
        for one in servers.status():
            print(f"{one.name:10} {'alive' if one.alive else 'dead':6} {one.pid:<8} {one.address:45} {one.log}")
    except ServerError as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
