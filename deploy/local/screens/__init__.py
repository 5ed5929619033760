"""Pictures of `medstream watch` for the README, taken of a real run: `make screens`.

The demo's servers transcribe its synthetic dictations; a terminal's table and a browser with the page watch
them. Nothing in the pictures is drawn by hand.
"""
