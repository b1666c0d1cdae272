"""Processes of this host: whether one still runs, so that what a killed one left behind can be told from work."""

import os


def is_running(process_id: int) -> bool:
    """Whether a process of this number runs, whoever owns it."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
