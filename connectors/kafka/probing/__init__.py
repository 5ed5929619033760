"""Why something does not work, in one sentence: `probe.py` for a connection, `access.py` for topics and ACLs.

Both ask by `broker_session.py`: one connection to one broker, without kafka-python's client.
"""
