"""What is checked before a job starts, and by `medstream doctor`.

`check.py` runs named checks in the order of what they depend on; the others are those checks: of Kafka, the
schema registry, the service, the runner and this machine. `preflight.py` demands the few without which a job
cannot begin. `exposure.py` and `near_misses.py` look at the options that go on to Beam.
"""
