"""``make dev``: Dagster's pages with its daemon (sensors, schedules) and MLflow's pages, on one home."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from xmkt_assets.resources import REPOSITORY, prepare_home, settings
from xmkt_assets.tracking import Tracker

DAGSTER_PORT: Final = "3000"
MLFLOW_PORT: Final = "5000"


def commands(home: Path, *, dagster_port: str = DAGSTER_PORT, mlflow_port: str = MLFLOW_PORT) -> list[list[str]]:
    """The two programs to run; both only listen on this machine."""
    python = sys.executable
    workspace = str(REPOSITORY / "workspace.yaml")
    dagster = [str(Path(python).parent / "dagster"), "dev", "-w", workspace, "-h", "127.0.0.1", "-p", dagster_port]
    store = ["--backend-store-uri", Tracker(home).uri, "--host", "127.0.0.1", "--port", mlflow_port, "--workers", "1"]
    return [dagster, [python, "-m", "mlflow", "server", *store]]


def main() -> int:
    """Run both until one ends or the terminal says stop."""
    home = settings().home
    if not (home / "lake").exists():
        sys.stderr.write(f"Nothing lies in {home} yet; `make demo` fills it. The pages open on an empty home.\n")
    prepare_home(home)
    sys.stdout.write(
        f"Dagster http://localhost:{DAGSTER_PORT}   MLflow http://localhost:{MLFLOW_PORT}   stop: Ctrl-C\n"
    )
    running = [subprocess.Popen(c, env={**os.environ}) for c in commands(home)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while all(p.poll() is None for p in running):
            time.sleep(0.5)
    except KeyboardInterrupt:
        sys.stdout.write("\nStopping.\n")
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=30)
    return max((p.returncode or 0 for p in running if (p.returncode or 0) >= 0), default=0)


if __name__ == "__main__":
    sys.exit(main())
