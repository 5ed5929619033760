"""A test run: the recording onto a topic, a bounded job over it, and what came out of it.

All records go out at once; the job paces what it sends to the endpoint, ends at the end of the topic, and the
same recording gives the same finals, whatever the machine is busy with.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import KafkaConnectorError
from connectors.kafka.recordings.bulk_sender import BulkSender
from connectors.kafka.recordings.recording import RecordingReader
from connectors.kafka.topics import create_topics, delete_topics
from deploy.local.processes import ChildProcess
from deploy.local.testing.errors import SessionsUnfinished
from deploy.local.testing.job import write_settings
from deploy.local.testing.plan import RunTopics
from deploy.local.testing.recorded import Recorded
from deploy.local.testing.servers import RunServers
from pipeline.audio.playback import UNPACED
from pipeline.consuming import FinalsConsumer, read_sessions
from pipeline.elements import DeadLetter
from pipeline.letters.letter_selection import by_reason, each_once, session_of
from pipeline.letters.letter_sending import read_dead_letters
from pipeline.output.output_values import SessionEnded
from pipeline.output.transcripts import Transcripts
from pipeline.recordings.replay_plan import ReplayOptions, ReplayPlan
from pipeline.recordings.replayer import Replayer, Target
from pipeline.settings import JobSettings

Say = Callable[[str], None]
Show = Callable[[float, str], None]
"""How many sessions have ended, and a few words beside it."""

_POLL_SECONDS = 0.2
_STOP_GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of the run."""

    transcripts: Transcripts = field(repr=False)
    dead_letters: tuple[DeadLetter, ...] = field(default=(), repr=False)

    def remarks(self) -> dict[str, list[str]]:
        """By session, what explains its finals or the lack of them; no words of any transcript."""
        found: dict[str, list[str]] = {}
        for session in self.transcripts:
            if session.ended is None:
                found.setdefault(session.session_id, []).append("no SessionEnded came")
            if session.gaps:
                found.setdefault(session.session_id, []).append(
                    f"audio is missing: {len(session.gaps)} gap(s)"
                )
        named = {session_of(letter) for letter in self.dead_letters}
        for session_id in sorted(name for name in named if name is not None):
            own = [letter for letter in self.dead_letters if session_of(letter) == session_id]
            reasons = ", ".join(f"{count.letters} {count.reason}" for count in by_reason(own))
            found.setdefault(session_id, []).append(f"dead letters: {reasons}")
        return found


@contextmanager
def run_topics(
    config: ClientConfig, topics: RunTopics, partitions: int, *, delete: bool, say: Say
) -> Iterator[None]:
    """The run's topics; they are deleted afterwards if asked to. Raises KafkaConnectorError."""
    try:
        create_topics(config, topics.to_create(partitions))
        yield
    finally:
        if delete:
            _delete(config, topics, say)


def _delete(config: ClientConfig, topics: RunTopics, say: Say) -> None:
    try:
        delete_topics(config, topics.every, topics.prefix)
    except KafkaConnectorError as error:  # it must not hide how the run went
        say(f"topics {topics.prefix}.* stay: {error}")


def send_recording(config: ClientConfig, recording: Path, topic: str, partitions: int) -> None:
    """Every record, as it was, onto `topic`. Raises KafkaConnectorError."""
    sender = BulkSender(config)
    try:
        with RecordingReader(recording) as reader:
            plan = ReplayPlan(ReplayOptions(), lambda: 1.0)
            Replayer(sender, Target(topic, partitions), UNPACED, wait=lambda _: False).run(plan.round(reader))
    finally:
        sender.close()


def run_job(
    settings: JobSettings,
    recorded: Recorded,
    servers: RunServers,
    beam_flags: Sequence[str],
    *,
    directory: Path,
    seconds: float,
    show: Show,
) -> Heard:
    """The job to its end, at most `seconds`; then everything that it published.

    Raises SessionsUnfinished, ServerFailed when the job or a server ends in failure, KafkaConnectorError.
    """
    settings_file = directory / "job.settings"
    write_settings(settings_file, settings)
    command: list[str | Path] = [sys.executable, "-P", "-m", "deploy.local.testing.job", settings_file]
    process = ChildProcess(
        "The job",
        [*command, *servers.beam_flags(), *beam_flags],
        log_path=directory / "job.log",
        environment=servers.environment(),
    )
    try:
        _follow(process, settings, recorded, servers, seconds, show)
    finally:
        process.stop(_STOP_GRACE_SECONDS)
        settings_file.unlink(missing_ok=True)
    if process.wait() != 0:
        raise process.failure("ended in failure")
    return _heard(settings)


def _follow(
    process: ChildProcess,
    settings: JobSettings,
    recorded: Recorded,
    servers: RunServers,
    seconds: float,
    show: Show,
) -> None:
    """Watch the job until it ends."""
    topics, deadline = settings.topics, time.monotonic() + seconds
    ended: set[str] = set()
    finals = 0
    with FinalsConsumer(
        settings.kafka, topics.finals, sessions_topic=topics.sessions, serdes=settings.serdes
    ) as consumer:
        while process.is_running():
            for event in consumer.poll(_POLL_SECONDS):
                if isinstance(event, SessionEnded):
                    ended.add(event.session_id)
                else:
                    finals += 1
            show(len(ended), f"{len(ended)} of {len(recorded.sessions)} sessions, {finals} finals")
            servers.check()
            if time.monotonic() > deadline:
                unfinished = [name for name in recorded.sessions if name not in ended]
                raise SessionsUnfinished(unfinished, seconds, process.log_path)


def _heard(settings: JobSettings) -> Heard:
    kafka, topics, serdes = settings.kafka, settings.topics, settings.serdes
    transcripts = read_sessions(kafka, topics.finals, sessions_topic=topics.sessions, serdes=serdes)
    letters = each_once(read_dead_letters(kafka, topics.dead_letters, serdes))
    return Heard(transcripts, tuple(letters))


def letters_line(letters: Sequence[DeadLetter]) -> str | None:
    """How many dead letters there are, and why; None without any."""
    if not letters:
        return None
    counts: Mapping[str, int] = {count.reason: count.letters for count in by_reason(letters)}
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    return f"{len(letters)} records or sessions became dead letters: {reasons}"
