"""The options that say how to reach the service, the same for every subcommand that does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from pipeline.elements import SAMPLE_RATE_RANGE_HERTZ

EndpointUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(help="A Transcribe-compatible endpoint instead of AWS.", envvar="MEDSTREAM_ENDPOINT_URL"),
]
Region: TypeAlias = Annotated[
    str | None, typer.Option(help="AWS region; else AWS_REGION, the profile's.", envvar="MEDSTREAM_REGION")
]
Profile: TypeAlias = Annotated[
    str | None, typer.Option(help="AWS profile.", envvar=["MEDSTREAM_PROFILE", "AWS_PROFILE"])
]
CaFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        "--ca-bundle",
        help="PEM file of the authorities to trust; the system's without.",
        envvar=["MEDSTREAM_CA_FILE", "MEDSTREAM_CA_BUNDLE"],
    ),
]
Transport: TypeAlias = Annotated[
    str, typer.Option(help="How to reach the service: http2 or websocket.", envvar="MEDSTREAM_TRANSPORT")
]
UseFipsEndpoint: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--use-fips-endpoint",
        help="The region's FIPS endpoint.",
        envvar=["MEDSTREAM_USE_FIPS_ENDPOINT", "AWS_USE_FIPS_ENDPOINT"],
    ),
]
UseDualstackEndpoint: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--use-dualstack-endpoint",
        help="The region's endpoint with IPv6.",
        envvar=["MEDSTREAM_USE_DUALSTACK_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"],
    ),
]
ResampleTo: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="Sample rate of all audio sent to the service; the audio's own without.",
        envvar="MEDSTREAM_RESAMPLE_TO",
        min=SAMPLE_RATE_RANGE_HERTZ[0],
        max=SAMPLE_RATE_RANGE_HERTZ[1],
        metavar="HERTZ",
    ),
]
Insecure: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Accept unencrypted connections beyond this machine.",
        envvar="MEDSTREAM_INSECURE",
    ),
]
