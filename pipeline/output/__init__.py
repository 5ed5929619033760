"""Transcripts on their way out, and back: records, what of them is news, and who publishes them.

`outputs.py` and `encoding.py` make the engine's outputs records; `output_values.py` and `transcripts.py` read
them again, for consumers. `progress.py` says what has been published of a session, `partition_publisher.py`
publishes what has not, `masking.py` without what identifies a patient.
"""
