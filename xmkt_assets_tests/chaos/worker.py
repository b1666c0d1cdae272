"""The process that is killed: ``python -m xmkt_assets_tests.chaos.worker WAY``.

It imports everything, says so, reads the folder of a home from its input, and loads there once.
"""

import sys
from pathlib import Path

from xmkt_assets_tests.chaos.scene import WAYS, prepare

if __name__ == "__main__":
    prepare(sys.argv[1])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    WAYS[sys.argv[1]](Path(sys.stdin.readline().strip()))
    sys.stdout.write("done\n")
    sys.stdout.flush()
