"""Kills: load, kill -9 at a drawn moment, load again, compare with the load nobody disturbed."""

import fcntl
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from xmkt_assets_tests.chaos.looking import States, look, orphans
from xmkt_assets_tests.chaos.scene import WAYS, set_scene

REPOSITORY: Final = Path(__file__).parent.parent.parent
_LONGEST_LOOK_SECONDS: Final = 300.0
_COMMIT_SECONDS: Final = 0.03  # about as long as a commit of the scene takes


class Kill(NamedTuple):
    """One load that was killed, and what was found after it."""

    after_seconds: float  # since the load began
    is_in_commit: bool  # whether the process held the write lock when it was killed
    had_ended: bool  # the load was over before the kill came
    tables_new: int  # tables that already had all of the new version
    orphans: int  # data files nobody knows, after the kill
    again_seconds: float  # the load that followed
    differing: tuple[str, ...]  # tables that then differ from the undisturbed load's
    looks: int
    halves: tuple[str, ...]  # parts a reader saw that were neither old nor new
    failed_looks: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        return not self.differing and not self.halves and self.looks > 0


class Chaos(NamedTuple):
    """All kills, and the load nobody disturbed."""

    load_seconds: float
    tables: int
    rows: int
    kills: tuple[Kill, ...]

    @property
    def is_sound(self) -> bool:
        return bool(self.kills) and all(kill.is_sound for kill in self.kills)


def run_chaos(folder: Path, *, kills: int, people: int, seed: int, way: str = "job") -> Iterator[Chaos]:
    """Kill `kills` loads, in turn at a moment of the load's time and within one of its commits, spread over all of it.

    Yields all kills so far after every one.
    """
    base = set_scene(folder / "base", people=people, way=way)
    workers = [_start("worker", way) for _ in range(2)]
    try:
        undisturbed = _copy(base, folder / "undisturbed")
        load_seconds = _undisturbed(workers.pop(0), undisturbed)
        before, after = look(base), look(undisturbed)
        old, new, commits = before.states, after.states, after.snapshot_id - before.snapshot_id
        states = folder / "states.json"
        states.write_text(json.dumps([old, new]), encoding="utf-8")
        rows = sum(count for parts in new.values() for count, _ in parts.values())
        done: list[Kill] = []
        chance = random.Random(seed)
        for number in range(kills):
            share = (number + chance.random()) / kills
            # The lock is taken once before the first commit, to open the lake.
            moment = _InCommit(2 + int(share * commits)) if number % 2 else share * load_seconds
            home = _copy(base, folder / f"kill-{number}")
            worker = workers.pop()
            if number + 1 < kills:
                workers.append(_start("worker", way))  # it gets ready while this one is killed
            done.append(_Attempt(home, states, new, way).kill(worker, moment=moment, chance=chance))
            shutil.rmtree(home)
            yield Chaos(load_seconds, len(new), rows, tuple(done))
    finally:
        for worker in workers:
            _stop(worker)


def _undisturbed(worker: "subprocess.Popen[str]", home: Path) -> float:
    """Seconds of a load nobody disturbs."""
    _await(worker, "ready")
    began = _begin(worker, home)
    _await(worker, "done")
    worker.wait()
    return time.monotonic() - began


class _InCommit(NamedTuple):
    """The moment of a kill within the load's commit of that number."""

    number: int


class _Attempt(NamedTuple):
    """One home in which a load is killed; `new` are the states it must come to in the end."""

    home: Path
    states: Path
    new: States
    way: str

    def kill(self, worker: "subprocess.Popen[str]", *, moment: "_InCommit | float", chance: random.Random) -> Kill:
        """Kill the load at `moment`, in seconds or in commits after it began; then load again."""
        reader = _start("reader", str(self.home), str(self.states))
        try:
            _await(reader, "looking")
            _await(worker, "ready")
            began = _begin(worker, self.home)
            if isinstance(moment, _InCommit):
                _wait_for_commit(worker, self.home, moment.number)
                time.sleep(chance.uniform(0, _COMMIT_SECONDS))
            else:
                time.sleep(moment)
            was_locked, had_ended = _is_locked(self.home), worker.poll() is not None
            worker.kill()
            after = time.monotonic() - began
            worker.wait()
            killed, left = look(self.home), len(orphans(self.home))
            again_seconds, differing = self._load_again()
            seen = _end(reader)
        finally:
            _stop(worker)
            _stop(reader)
        reader_saw = (seen["looks"], tuple(seen["halves"]), tuple(seen["failures"]))
        count_new = sum(parts == self.new[table] for table, parts in killed.states.items())
        return Kill(after, was_locked, had_ended, count_new, left, again_seconds, differing, *reader_saw)

    def _load_again(self) -> tuple[float, tuple[str, ...]]:
        """Seconds of the load after the kill, and the tables that then differ from the undisturbed ones."""
        began = time.monotonic()
        WAYS[self.way](self.home)
        seconds = time.monotonic() - began
        return seconds, tuple(table for table, parts in look(self.home).states.items() if parts != self.new[table])


def _copy(home: Path, into: Path) -> Path:
    return Path(shutil.copytree(home, into))


def _start(module: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", f"xmkt_assets_tests.chaos.{module}", *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _await(process: "subprocess.Popen[str]", word: str) -> None:
    """Wait until the process says `word`."""
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    if said != word:
        raise RuntimeError(f"{process.args!r} said {said!r}, wanted {word!r}; it ended with {process.poll()}.")


def _begin(worker: "subprocess.Popen[str]", home: Path) -> float:
    assert worker.stdin is not None
    worker.stdin.write(f"{home}\n")
    worker.stdin.flush()
    return time.monotonic()


def _end(reader: "subprocess.Popen[str]") -> dict[str, Any]:
    reader.terminate()
    said, _ = reader.communicate(timeout=_LONGEST_LOOK_SECONDS)
    found: dict[str, Any] = json.loads(said)
    return found


def _stop(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _wait_for_commit(worker: "subprocess.Popen[str]", home: Path, number: int) -> None:
    """Until the worker takes the write lock for the `number`-th time, or has ended."""
    taken, was_locked = 0, False
    while taken < number and worker.poll() is None:
        is_locked = _is_locked(home)
        taken, was_locked = taken + (is_locked and not was_locked), is_locked
        time.sleep(0.0005)


def _is_locked(home: Path) -> bool:
    with (home / "lake" / "write.lock").open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(handle.fileno(), fcntl.LOCK_UN)
        return False
