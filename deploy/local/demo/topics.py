"""The Kafka topics of one demo run and which schema the records of each have.

Every run has topics of its own, so that a stack that was kept from another run cannot mix with it.
"""

from __future__ import annotations

from dataclasses import dataclass

AUDIO_PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class DemoTopics:
    """Topic names of a run."""

    run_id: str
    audio: str
    finals: str
    partials: str
    sessions: str
    dead_letters: str

    @classmethod
    def of_run(cls, run_id: str) -> DemoTopics:
        return cls(
            run_id,
            *(
                f"demo-{run_id}-{kind}"
                for kind in ("audio", "finals", "partials", "sessions", "dead-letters")
            ),
        )

    @property
    def warm_up_ids(self) -> list[str]:
        """Ids of the warm-up sessions, by the audio topic's partition."""
        return [f"warm-up-{self.run_id}-{partition}" for partition in range(AUDIO_PARTITIONS)]

    @property
    def partitions(self) -> dict[str, int]:
        """Topics to create, with their number of partitions."""
        return {
            self.audio: AUDIO_PARTITIONS,
            self.finals: 2,
            self.partials: 2,
            self.sessions: 1,
            self.dead_letters: 1,
        }

    @property
    def output_schemas(self) -> dict[str, str]:
        """Topics that the pipeline writes, with the schema name of their records."""
        return {
            self.finals: "final_transcript",
            self.partials: "partial_transcript",
            self.sessions: "session_ended",
            self.dead_letters: "dead_letter",
        }
