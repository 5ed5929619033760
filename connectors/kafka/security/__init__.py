"""Towards the brokers: TLS that follows its files, logins that follow their credentials.

`tls.py` makes the context, `login.py` chooses the login: user and password, OAuth (`oauth.py`, `tokens.py`)
or AWS credentials for Amazon MSK (`msk_iam.py`).
"""
