"""A local endpoint that speaks Amazon Transcribe Medical streaming: the service's side of the wire.

It verifies every signature, validates parameters, keeps the service's limits and says its errors in its
words, so a client that works here has shown what it does on the wire; what it cannot show is the
service's speech recognition.

    cli.py, process.py       `medstream endpoint`; the same as a child process for tests, demo and local stack
    serving.py               granian, the port, signals
    app.py, exchange.py      ASGI: routes; one stream's tasks and commands
    service.py               admission: keys, parameters, quota, session ids
    stream.py                one stream, pure: bytes, segments and `now` in, commands out
    authentication.py        Signature Version 4 of the request and of each event, pure
    faults.py                faults on request, pure
    results.py               segments as event-stream messages, pure
    text.py, speakers.py, phi.py   written items, speaker labels, health information: simple rules, pure
    recognition.py           where recognisers run; recognition_threads.py: in threads
    recognisers/             the recognisers, and how to write one; plugin.py finds them by entry point
    event_log.py             one JSON line for each stream and final, without any text
"""
