"""Everything that talks to Kafka: client settings, the Beam source and sink, and the log re-reader."""
