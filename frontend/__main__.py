"""`python -m frontend`: one build over standard input and output."""

import os
import sys

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
            gateway = Gateway(channel)
            gateway.ping()
            return answered(gateway)
    except LazybuildError as error:  # nobody is left to hand it back to
        sys.stderr.write(f"lazybuild frontend: {error.message}\n")
        return 1
    finally:
        piped.close()


def answered(gateway: Gateway) -> int:
    """The compiler is loaded once BuildKit knows that somebody is there: that takes a while."""
    from frontend.build import serve  # noqa: PLC0415 - after the first answer, as above
    from frontend.options import read  # noqa: PLC0415 - likewise

    return serve(gateway, read(os.environ))


if __name__ == "__main__":
    sys.stderr.flush()
    code = main()
    sys.stderr.flush()
    os._exit(code)  # the threads of grpc and of the pump have nothing more to say
