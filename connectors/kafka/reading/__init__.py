"""The parts of the source (`connectors.kafka.source`): what is found, read, and may be committed.

`discovery.py` and `partition_range.py` are what its two splittable DoFns have as restrictions (for Beam:
`restrictions.py`), `positions.py` where they begin and stop, `shared_consumer.py` the one consumer of a
process and `feed.py` what it holds of each partition, `commit_gate.py` when an offset may be committed,
`offsets.py` what the cluster says of partitions, and `drain_requests.py` how a running job is told to come to
its end.
"""
