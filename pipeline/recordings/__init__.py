"""Recordings of topics: `medstream record`, `replay` and `inspect`.

`recorder.py` and `replayer.py` are the two directions; `replay_plan.py` says when each record goes out again,
as which session and with what faults; `record_selection.py` which records are meant at all.
"""
