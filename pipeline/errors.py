"""Errors of the pipeline: one root, values as attributes, no patient data in any message.

`PipelineError` is the root. `ChunkRejected` is what sends one record to the dead-letter topic;
`SettingsError` is a mistake of the person who started the job, `JobFailed` the end of a job that ran;
`FlinkUnreachable` and `FlinkRefused` are answers of a Flink that is operated;
`UnreadableRecord` is a record of an output topic that cannot be decoded; `IllegalEvent` is a defect of the
caller of a state machine.
"""

from __future__ import annotations

from collections.abc import Sequence


class PipelineError(Exception):
    """Root of everything this package raises. `retryable`: whether the same call may succeed later."""

    retryable = False


class SettingsError(PipelineError):
    """A setting that cannot work; the message names it and the remedy."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}")
        self.setting = setting


class JobFailed(PipelineError):
    """The runner reports that the job has ended in failure."""

    retryable = True


class FlinkUnreachable(PipelineError):
    """Flink's REST server does not answer, or something else does."""

    retryable = True

    def __init__(self, rest_url: str, reason: str) -> None:
        super().__init__(
            f"--flink-url: no answer from Flink at {rest_url}: {reason}. It is the address of the "
            "JobManager's REST server, often port 8081"
        )
        self.rest_url = rest_url
        self.reason = reason


class FlinkRefused(PipelineError):
    """Flink's REST server says no, or an operation that it had begun failed; `reason` in Flink's words."""

    def __init__(self, rest_url: str, reason: str) -> None:
        super().__init__(f"Flink at {rest_url}: {reason}")
        self.rest_url = rest_url
        self.reason = reason


class JobNotFound(PipelineError):
    """No job of this Flink, or more than one, is meant by the name or id that was given."""

    def __init__(self, rest_url: str, wanted: str | None, found: Sequence[str]) -> None:
        which = f"no running job {wanted!r}" if wanted else "no job runs" if not found else "several jobs run"
        named = f"; there is: {', '.join(found)}" if found else ""
        super().__init__(f"--job: {which} at {rest_url}{named}")
        self.rest_url = rest_url
        self.wanted = wanted
        self.found = tuple(found)


class StillRunning(PipelineError):
    """What was asked of a job has not come about in time; it may still."""

    retryable = True

    def __init__(self, what: str, timeout_seconds: float, remedy: str) -> None:
        super().__init__(f"{what} after {timeout_seconds:.0f} s (--timeout-seconds): {remedy}")
        self.timeout_seconds = timeout_seconds


class NoCheckpoint(PipelineError):
    """There is nothing at this place that a job could be resumed from."""

    def __init__(self, place: str) -> None:
        super().__init__(
            f"--resume-from: no checkpoint or savepoint that is complete (has _metadata) at or below {place}"
        )
        self.place = place


class ChunkRejected(PipelineError):
    """One record that can never be transcribed as it is.

    `error_class` is one of the constants of `pipeline.elements` (stable, for counting and for `dlq`);
    `reason` is one sentence with the values that are wrong, never with audio or text.
    """

    def __init__(self, error_class: str, reason: str) -> None:
        super().__init__(f"{error_class}: {reason}")
        self.error_class = error_class
        self.reason = reason


class UnreadableRecord(PipelineError):
    """A record of an output topic that cannot be decoded; `reason` says why, never with its bytes."""

    def __init__(self, topic: str, partition: int, offset: int, reason: str) -> None:
        super().__init__(
            f"{topic}-{partition} offset {offset}: {reason} (--on-unreadable skip goes on without it)"
        )
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.reason = reason


class UnrenamableRecord(PipelineError):
    """A record that is no audio chunk, so that it cannot go under another session id."""

    def __init__(self, topic: str, partition: int, offset: int, reason: str) -> None:
        super().__init__(
            f"--rename: {topic}-{partition} offset {offset} cannot be encoded anew: {reason} "
            "(leave it out by --reason, or retry it without --rename)"
        )
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.reason = reason


class IllegalEvent(PipelineError):
    """An event that the state machine cannot have in its present state; nothing was changed."""

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"event {event} is illegal in state {state}")
        self.state = state
        self.event = event
