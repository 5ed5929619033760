"""What a worker process holds beside Beam: live sessions, their streams, the event loop and the slots.

`live_session.py` is one session's engine with what its commands move; `live_stream.py` its stream of the
service on the event loop; `live_streams.py` the registry of all of them, which may vanish at any moment. The
rest is the process itself: how it is set up (`worker_setup.py`), how its memory is managed (`heap_policy.py`)
and what Beam is kept from spending (`bundle_metrics.py`, `state_weights.py`).
"""
