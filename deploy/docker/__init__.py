"""What the container image runs beside `medstream` itself."""
