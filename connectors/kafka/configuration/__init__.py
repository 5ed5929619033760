"""A configuration of Kafka clients as every Kafka tool takes it, Java-style properties, to settings.

`properties.py` reads them, `property_files.py` those of `--command-config`, with what their values refer to
(`config_providers.py`). `refused_properties.py` says of a property that is not taken why; `consistency.py`
whether settings of security fit together; `weaknesses.py` what works and should not.
"""
