"""The process behind `pocketsphinx_pool.py`: loads the decoder once, then forks one child for each stream.

A decoder takes a quarter of a second and 90 MiB to load and keeps state of the speaker it hears. Forking
from a process that has loaded it, and has no threads and no event loop, gives each stream a fresh decoder
within milliseconds and shares the model's memory. The child exits after its stream, so nothing leaks into
the next.

The control socket carries one JSON line per stream together with the stream's socket (SCM_RIGHTS). When
the control socket closes, this process ends; when a stream's socket closes, its child ends: so none
outlives the endpoint, however the endpoint dies. On a stream's socket, frames of `length u32 | bytes`
carry PCM in and JSON lists of segments out; an empty frame ends the audio, and is the answer once
everything was sent.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
from pathlib import Path

from pocketsphinx import Decoder

from deploy.local.transcribe.errors import SpeechError
from deploy.local.transcribe.recognisers.framing import LENGTH, READY, encode_segments
from deploy.local.transcribe.recognisers.pocketsphinx import PocketSphinxRecogniser, load_decoder

_MAX_REQUEST_BYTES = 4096


def serve_stream(connection: socket.socket, decoder: Decoder, sample_rate_hertz: int) -> None:
    """Recognise one stream until its audio ends or the other side is gone."""
    recogniser = PocketSphinxRecogniser(decoder, sample_rate_hertz)
    with connection, connection.makefile("rb") as incoming:
        while len(header := incoming.read(LENGTH.size)) == LENGTH.size:
            size = LENGTH.unpack(header)[0]
            segments = recogniser.accept(incoming.read(size)) if size else recogniser.finish()
            if segments:
                connection.sendall(encode_segments(segments))
            if not size:
                connection.sendall(LENGTH.pack(0))
                return


def serve_streams(control: socket.socket, decoder: Decoder) -> None:
    """Fork a child for each stream asked for, until the control socket closes."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, _MAX_REQUEST_BYTES, 1)
        if not request:
            return
        connection = socket.socket(fileno=descriptors[0])
        if os.fork() == 0:
            control.close()
            _run_child(connection, decoder, int(json.loads(request)["sample_rate_hertz"]))
        connection.close()


def _run_child(connection: socket.socket, decoder: Decoder, sample_rate_hertz: int) -> None:
    """Serve and exit; a traceback is not printed, since its values could be heard words."""
    code = 0
    try:
        serve_stream(connection, decoder, sample_rate_hertz)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the endpoint gave the stream up
    except BaseException as error:
        print(f"recognition ended by {type(error).__name__}", file=sys.stderr, flush=True)
        code = 1
    finally:
        os._exit(code)


def main() -> None:
    """Run the process: `--control-fd N [--lm FILE] [--dict FILE]`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--lm", type=Path)
    parser.add_argument("--dict", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the endpoint's; its end closes the socket
    with socket.socket(fileno=options.control_fd) as control:
        try:
            decoder = load_decoder(options.lm, options.dict)
        except SpeechError as error:
            control.sendall(str(error).encode())
            return
        control.sendall(READY)
        serve_streams(control, decoder)


if __name__ == "__main__":
    main()
