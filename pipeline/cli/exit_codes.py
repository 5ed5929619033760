"""Exit codes of `medstream transcribe`: one for each kind of failure, for scripts."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.engine.failures import FailureKind

OK, USAGE, INTERRUPTED = 0, 2, 130


@dataclass(frozen=True, slots=True)
class ExitCode:
    """`meaning` for the help, `remedy` for whoever meets it: where to look."""

    number: int
    meaning: str
    remedy: str


EXIT_CODES = {
    FailureKind.CONFIGURATION: ExitCode(
        1, "a setting or the file is wrong", "check --endpoint-url, --region and --ca-file"
    ),
    FailureKind.REQUEST: ExitCode(
        3, "the service refused the request", "check the options and the audio's format"
    ),
    FailureKind.ACCESS: ExitCode(
        4,
        "access denied or no credentials",
        "check the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, --profile), their permission "
        "transcribe:StartMedicalStreamTranscription, --region, and this machine's clock",
    ),
    FailureKind.THROTTLED: ExitCode(
        5, "throttled, or over a quota", "wait, end other streams, or ask AWS for a higher quota"
    ),
    FailureKind.NETWORK: ExitCode(
        6,
        "network or TLS",
        "check the network, its proxy, --endpoint-url, and --ca-file for a private authority",
    ),
    FailureKind.SERVICE: ExitCode(7, "the service failed", "try again later"),
    FailureKind.UNEXPECTED: ExitCode(
        70, "a defect of medstream", "run it with --log-level DEBUG and report what it says"
    ),
}


def exit_code_help() -> str:
    """All exit codes in one line."""
    failures = [f"{code.number} {code.meaning}" for code in EXIT_CODES.values()]
    known = [f"{OK} all is well", failures[0], f"{USAGE} wrong usage", *failures[1:]]
    return f"Exit codes: {'; '.join([*known, f'{INTERRUPTED} interrupted'])}."
