"""A local endpoint that speaks Amazon Transcribe Medical streaming: the service's side of the wire.

It verifies every signature, validates parameters, keeps the service's limits and says its errors in its
words, so a client that works here has shown what it does on the wire; what it cannot show is the
service's speech recognition.

    cli.py, process.py       `medstream endpoint`; the same as a child process for tests, demo and local stack
    certificates.py          `--generate-ca`: an authority and a certificate for TLS
    pytest_plugin.py         the fixture `transcribe_endpoint`, for others too
    serving.py               the port, TLS, granian, signals
    front.py                 connections: what goes wrong on the wire; http2_boundaries.py finds the frames
    app.py, carriers.py      ASGI: routes; HTTP/2 and WebSocket behind the same few methods
    exchange.py              one stream's tasks and commands
    service.py               admission: keys, parameters, quota, session ids; operations.py has the routes
    stream.py, commands.py   one stream, pure: bytes, segments and `now` in, commands out
    audio_events.py          how audio is wrapped: signed over HTTP/2, plain over a WebSocket
    authentication.py        Signature Version 4 of requests, presigned URLs and events, pure
    faults.py                faults on request, pure; stream_faults.py what they do to a stream
    results.py               segments as event-stream messages, pure
    text.py, speakers.py, phi.py   written items, speaker labels, health information: simple rules, pure
    recognition.py           where recognisers run; recognition_threads.py: in threads
    recognisers/             the recognisers, and how to write one; plugin.py finds them by entry point
    event_log.py             one JSON line for each stream and final, without any text
"""
