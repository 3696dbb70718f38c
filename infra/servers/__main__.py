"""The servers by hand: `python -m infra.servers up|down|status|erase`.

`warm` fetches Kafka and lets Java record how it starts; `lock` writes the list of Kafka's jars again.
"""

import argparse
import logging
import sys

from infra.servers import Addresses, ServerError, Servers, kafka
from infra.terminal import write_what_can_be_shown


def main() -> int:
    """Run one of the commands. The exit code: 1, with a sentence on standard error, when it failed."""
    write_what_can_be_shown()
    parser = argparse.ArgumentParser(prog="python -m infra.servers", description=__doc__)
    parser.add_argument("what", choices=["up", "down", "status", "erase", "warm", "lock"])
    parser.add_argument("--brokers", type=int, choices=[1, 3], default=1)
    arguments = parser.parse_args()
    servers = Servers()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its failed attempts are repeated here
    try:
        if arguments.what == "up":
            servers.up(brokers=arguments.brokers, keep=True, progress=print)
        elif arguments.what == "down":
            servers.down()
        elif arguments.what == "erase":
            servers.erase()
        elif arguments.what == "warm":
            if not Addresses.from_environment().kafka:
                kafka.warm(print)
        elif arguments.what == "lock":
            kafka.lock()
        for one in servers.status():
            print(f"{one.name:10} {'alive' if one.alive else 'dead':6} {one.pid:<8} {one.address:45} {one.log}")
    except ServerError as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
