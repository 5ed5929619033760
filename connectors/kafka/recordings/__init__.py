"""Recordings of topics: files of Kafka records, read from a topic and written to one.

`container.py` is the file as bytes, `recording.py` the file on a disk; `topic_reader.py` reads ranges of a
topic in the order of time (`time_merge.py`), `bulk_sender.py` writes many records fast. `errors.py` has what
can be wrong with a file.
"""
