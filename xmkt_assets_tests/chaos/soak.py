"""Soak: writers on days of their own and readers on all of them, writers killed with SIGKILL at random moments.

``python -m xmkt_assets_tests.chaos.soak --minutes 3`` (or ``make soak``). Half of the kills come at a drawn moment, the
other half while the writer is within its commit. At the end every snapshot there ever was is looked at again: each must
hold whole batches only and differ from the one before it by one batch of one day; each acknowledged batch must be in
the snapshot it was told.
"""

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

from xmkt_assets.warehouse import Lake, Session
from xmkt_assets_tests.chaos.looking import orphans
from xmkt_assets_tests.chaos.soak_scene import DAYS_PER_WRITER, STATE_SQL, State, days_of, judge, went_back
from xmkt_assets_tests.chaos.soak_writer import Note, is_in_commit, read_log, write_on

REPOSITORY: Final = Path(__file__).parent.parent.parent
WAYS: Final = ("attached", "session")  # of reading, in turn
_LONGEST_END_SECONDS: Final = 120.0
_LONGEST_START_SECONDS: Final = 30.0
_COMMIT_SECONDS: Final = 0.3  # a kill within a commit comes within this time of its begin
_KILLING_SHARE: Final = 0.95  # of the time; then everybody is left alone once more


class Kill(NamedTuple):
    """One SIGKILL: when, whom, and whether the writer had meant to write and not yet said that it had."""

    after_seconds: float
    writer: int
    is_in_commit: bool


class Reading(NamedTuple):
    """What all readers saw."""

    seconds: tuple[float, ...]  # of each look, the opening included
    inconsistent: tuple[str, ...]
    failed: tuple[str, ...]


class History(NamedTuple):
    """What the snapshots say afterwards."""

    snapshots: int
    acknowledged: int
    survived: int  # batches never acknowledged, for their writer was killed, that are there and whole
    lost: int  # those that left nothing
    broken: tuple[str, ...]


class Soak(NamedTuple):
    """A soak and what was found."""

    seconds: float
    kills: tuple[Kill, ...]
    reading: Reading
    history: History
    commit_seconds: tuple[float, ...]  # acknowledged ones, waiting for the lock included
    ended_by_themselves: tuple[str, ...]  # what writers said that were not killed
    orphans: int

    @property
    def is_sound(self) -> bool:
        wrong = (*self.reading.inconsistent, *self.reading.failed, *self.history.broken, *self.ended_by_themselves)
        return not wrong and bool(self.reading.seconds) and self.history.acknowledged > 0


def run_soak(folder: Path, *, seconds: float, writers: int, readers: int, kills: int, seed: int) -> Soak:
    """Let writers and readers work in the home `folder` for `seconds` and kill a writer `kills` times meanwhile."""
    crew = Crew(folder, writers)
    for writer in range(writers):
        write_on(folder, writer, crew.log(writer), until=DAYS_PER_WRITER)
    first = Lake(folder, threads=1).snapshot_id()
    try:
        for number in range(readers):
            crew.start_reader(WAYS[number % len(WAYS)])
        crew.await_readers()
        for writer in range(writers):
            crew.start_writer(writer)
        started = time.monotonic()
        done = tuple(crew.kill_now_and_then(seconds, kills=kills, chance=random.Random(seed)))
        time.sleep(max(0.0, started + seconds - time.monotonic()))
        done += crew.kill_all(after_seconds=time.monotonic() - started)
        reading = crew.end_readers()
    finally:
        crew.stop()
    notes = [note for writer in range(writers) for note in read_log(crew.log(writer), writer=writer)]
    history = look_back(folder, notes, first=first, days=days_of(writers))
    commit_seconds = tuple(note.seconds for note in notes if note.seconds is not None)
    return Soak(seconds, done, reading, history, commit_seconds, tuple(crew.ended_by_themselves), len(orphans(folder)))


@dataclass
class Crew:
    """The processes of a soak on one home."""

    home: Path
    size: int
    writers: dict[int, "subprocess.Popen[str]"] = field(default_factory=dict)
    readers: list["subprocess.Popen[str]"] = field(default_factory=list)
    ended_by_themselves: list[str] = field(default_factory=list)

    def log(self, writer: int) -> Path:
        self.home.mkdir(parents=True, exist_ok=True)
        return self.home / f"writer-{writer}.log"

    def start_writer(self, writer: int) -> None:
        self.writers[writer] = _start("soak_writer", str(self.home), str(writer), str(self.log(writer)))

    def start_reader(self, way: str) -> None:
        self.readers.append(_start("soak_reader", str(self.home), str(self.size), way))

    def await_readers(self) -> None:
        for reader in self.readers:
            assert reader.stdout is not None
            if reader.stdout.readline().strip() != "looking":
                raise RuntimeError(f"A reader could not start: {_last_words(reader)}")

    def kill_now_and_then(self, seconds: float, *, kills: int, chance: random.Random) -> Iterator[Kill]:
        """Kill a drawn writer at a drawn moment, every other time within its commit, and start it again."""
        started = time.monotonic()
        for number in range(kills):
            moment = started + _KILLING_SHARE * seconds * (number + chance.random()) / kills
            while time.monotonic() < moment:
                self._replace_the_fallen()
                time.sleep(min(0.2, max(0.0, moment - time.monotonic())))
            writer = chance.randrange(self.size)
            self._await_commits(writer)
            if number % 2:
                _until(lambda writer=writer: is_in_commit(self.log(writer)))
                time.sleep(chance.uniform(0, _COMMIT_SECONDS))
            yield self._kill(writer, after_seconds=time.monotonic() - started)
            self.start_writer(writer)

    def kill_all(self, *, after_seconds: float) -> tuple[Kill, ...]:
        self._replace_the_fallen(start_again=False)
        return tuple(self._kill(writer, after_seconds=after_seconds) for writer in sorted(self.writers))

    def end_readers(self) -> Reading:
        for reader in self.readers:
            reader.terminate()
        told = [json.loads(reader.communicate(timeout=_LONGEST_END_SECONDS)[0]) for reader in self.readers]
        return Reading(*(tuple(x for one in told for x in one[name]) for name in Reading._fields))

    def stop(self) -> None:
        for process in (*self.writers.values(), *self.readers):
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def _kill(self, writer: int, *, after_seconds: float) -> Kill:
        process = self.writers[writer]
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            self.ended_by_themselves.append(f"writer {writer}: {_last_words(process)}")
        return Kill(after_seconds, writer, is_in_commit(self.log(writer)))

    def _await_commits(self, writer: int) -> None:
        """Until the writer has written since it was started: one killed while it starts proves nothing."""
        log, size = self.log(writer), self.log(writer).stat().st_size
        _until(lambda: log.stat().st_size > size)

    def _replace_the_fallen(self, *, start_again: bool = True) -> None:
        for writer, process in list(self.writers.items()):
            if process.poll() is not None:
                self.ended_by_themselves.append(f"writer {writer}: {_last_words(process)}")
                del self.writers[writer]
                if start_again:
                    self.start_writer(writer)


def look_back(home: Path, notes: Sequence[Note], *, first: int, days: Sequence[date]) -> History:
    """Look at every snapshot from `first` on and compare it with the one before and with what writers noted."""
    broken, shown = list[str](), dict[int, State]()
    with Lake(home, threads=1).session() as session:
        last = session.snapshot_id()
        for snapshot_id in range(first, last + 1):
            shown[snapshot_id], complaints = _state_at(session, snapshot_id, days)
            broken += [f"snapshot {snapshot_id}: {complaint}" for complaint in complaints]
            if snapshot_id > first:
                broken += _misstep(snapshot_id, shown[snapshot_id - 1], shown[snapshot_id])
    visible = {batch for state in shown.values() for batch in state.values()}
    broken += _unkept(notes, shown)
    broken += [f"{batch} is there and nobody meant to write it" for batch in visible - {n.batch for n in notes}]
    unsaid = [note.batch for note in notes if note.snapshot_id is None]
    survived = sum(batch in visible for batch in unsaid)
    return History(len(shown), len(notes) - len(unsaid), survived, len(unsaid) - survived, tuple(broken))


def _state_at(session: Session, snapshot_id: int, days: Sequence[date]) -> tuple[State, list[str]]:
    query = STATE_SQL.format(at=f"at (version => {snapshot_id})")
    return judge(session.connection.execute(query).fetchall(), days=days)


def _misstep(snapshot_id: int, before: State, after: State) -> list[str]:
    """A commit replaces one day by a later batch; nothing else may differ between two snapshots."""
    changed = [day for day in after if before.get(day) != after[day]]
    found = [] if len(changed) == 1 else [f"{len(changed)} days changed at once"]
    return [f"snapshot {snapshot_id}: {said}" for said in (*found, *went_back(before, after))]


def _unkept(notes: Sequence[Note], shown: Mapping[int, State]) -> list[str]:
    """Acknowledged batches that are not in the snapshot they were told."""
    told = [note for note in notes if note.snapshot_id is not None and note.snapshot_id in shown]
    return [
        f"{note.batch} was acknowledged as snapshot {note.snapshot_id}, which shows another"
        for note in told
        if shown[note.snapshot_id or 0].get(note.batch.held_on) != note.batch
    ]


def _start(module: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", f"xmkt_assets_tests.chaos.{module}", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _last_words(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    said = process.stderr.read().strip().splitlines()
    return f"ended with {process.returncode}: {said[-1] if said else 'it said nothing'}"


def _until(happens: Callable[[], bool]) -> None:
    """Wait for it, but not for ever: a writer may wait for the lock, or may have fallen."""
    given_up = time.monotonic() + _LONGEST_START_SECONDS
    while not happens() and time.monotonic() < given_up:
        time.sleep(0.001)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 where no read failed or was inconsistent and every commit that survived is whole."""
    chosen = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        found = run_soak(
            Path(folder),
            seconds=chosen.minutes * 60,
            writers=chosen.writers,
            readers=chosen.readers,
            kills=chosen.kills,
            seed=chosen.seed,
        )
    sys.stdout.write("\n".join(report(found)) + "\n")
    return 0 if found.is_sound else 1


def report(found: Soak) -> list[str]:
    """What was found, for a person."""
    kills, reading, history = found.kills, found.reading, found.history
    looks, commits = sorted(reading.seconds), sorted(found.commit_seconds)
    lines = [
        f"{found.seconds:.0f} s, {len(kills)} kills of writers, {sum(k.is_in_commit for k in kills)} within a commit",
        f"commits: {history.acknowledged:,} acknowledged, {history.survived} whole though killed before they could say "
        f"so, {history.lost} that left nothing; {_seconds(commits)}, waiting for the lock included",
        f"reads: {len(looks):,}, {len(reading.failed)} failed, {len(reading.inconsistent)} inconsistent; "
        f"{_seconds(looks)}",
        f"snapshots looked at again: {history.snapshots:,}, {len(history.broken)} complaints",
        f"data files nobody knows: {found.orphans}; writers that ended by themselves: {len(found.ended_by_themselves)}",
    ]
    wrong = (*reading.failed, *reading.inconsistent, *history.broken, *found.ended_by_themselves)
    return [*lines, *(f"  {said}" for said in wrong[:20]), "sound" if found.is_sound else "NOT SOUND"]


def _seconds(ordered: Sequence[float]) -> str:
    if not ordered:
        return "none"
    return f"median {statistics.median(ordered) * 1000:.0f} ms, longest {ordered[-1]:.2f} s"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m xmkt_assets_tests.chaos.soak",
        description="Writers killed at random moments, readers that look all along; everything must stay whole.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--kills", type=int, default=30, help="besides those at the end")
    parser.add_argument("--seed", type=int, default=7)
    return parser


if __name__ == "__main__":
    sys.exit(main())
