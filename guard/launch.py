"""`python3 launch.py PARENT COMMAND...`: becomes COMMAND, which dies with the process PARENT.

A program of its own, because asking the kernel for it (PR_SET_PDEATHSIG, prctl(2)) belongs between
fork and exec, where a process with threads must not run Python; and setpriv(1), which could do it,
also touches capabilities, which the guard's sandbox forbids.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Never returns."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit("launch: the kernel refused PR_SET_PDEATHSIG")
    if os.getppid() != parent:
        sys.exit("launch: the guard died first")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
