"""`python -m frontend`: one build over standard input and output."""

import os
import sys

from frontend.build import serve
from frontend.options import read
from lazybuild.errors import LazybuildError
from lazybuild.wire.calls import open_channel
from lazybuild.wire.gateway import Gateway
from lazybuild.wire.pump import PipedSocket


def main() -> int:
    """Speak with the BuildKit at the other end of fd 0 and fd 1. Messages for people go to fd 2."""
    piped = PipedSocket(os.dup(0), os.dup(1))
    sys.stdout = sys.stderr
    try:
        with open_channel(piped.target) as channel:
            return serve(Gateway(channel), read(os.environ))
    except LazybuildError as error:  # nobody is left to hand it back to
        sys.stderr.write(f"lazybuild frontend: {error.message}\n")
        return 1
    finally:
        piped.close()


if __name__ == "__main__":
    sys.stderr.flush()
    code = main()
    sys.stderr.flush()
    os._exit(code)  # the threads of grpc and of the pump have nothing more to say
