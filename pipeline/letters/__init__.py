"""Dead letters as people meet them: found, read, and sent again (`medstream dlq`)."""
