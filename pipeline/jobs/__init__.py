"""Jobs that run: found, drained, stopped with a savepoint, resumed (`medstream jobs`)."""
