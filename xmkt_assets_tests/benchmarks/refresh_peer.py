"""dbt in a process that stays: ``python refresh_peer.py OPTIONS``, run by the Python of dbt's own environment.

For every line on its input (the arguments of one dbt command as a JSON list) it prints how many seconds the command
took, and how many of a processor. It imports nothing of ours: that environment has nothing of ours.
"""

import json
import os
import sys
import time


def main(folders: list[str]) -> None:
    from dbt.cli.main import dbtRunner

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what dbt prints is no answer
    runner = dbtRunner()
    answers.write("ready\n")
    for line in sys.stdin:
        started, used = time.perf_counter(), time.process_time()
        result = runner.invoke(["--quiet", *json.loads(line), *folders])
        if not result.success:
            sys.exit(f"dbt failed: {result.exception or [r.message for r in result.result]}")
        answers.write(f"{time.perf_counter() - started} {time.process_time() - used}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
