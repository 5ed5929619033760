"""The session engine: one pure state machine per session, from events and `now` to commands.

`session.py` is where to begin: what happens to a session, event by event; `session_actions.py` is what it
does then, `commands.py` what it asks of its shell, and `cursor.py` all that survives it. Two tables are its
life (`session_state.py`, `stream_state.py`). On the way in, `resequencer.py` orders chunks, `judging.py`
refuses those that contradict their session, and `feed.py` says what is still to be heard; on the way out,
`reassembly.py` puts results together and `stream_clock.py` lays them on the session's `timeline.py`.

Nothing here reads a clock, opens a socket or blocks; `pipeline.worker` does that for it.
"""
