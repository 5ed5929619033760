"""`medstream doctor`: try everything that a job needs, and say of each thing what was tried, found and to do.

The checks are those that `medstream run` makes before it submits (`pipeline/checks/preflight.py`), and a few
that only somebody who looks for a fault wants. Nothing is written, created or registered.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from connectors.kafka.client import ClientConfig
from pipeline.checks.check import FORESEEN, Check, Doubtful, NotPossible, Outcome, Result, examine
from pipeline.checks.kafka_checks import KafkaChecks
from pipeline.checks.near_misses import refuse_near_misses
from pipeline.checks.registered_schemas import schemas_of_topics
from pipeline.checks.registry_check import RegistryChecks
from pipeline.checks.runner_checks import exposure_checks, protocol_checks, runner_checks, worker_checks
from pipeline.checks.service_checks import ServiceChecks
from pipeline.cli import logs
from pipeline.cli.beam_flags import beam_flag, beam_flags
from pipeline.cli.job_options import (
    PIECES,
    job_topics,
    kafka_config,
    registry_settings,
    service_settings,
)
from pipeline.cli.like_run import CONTEXT_SETTINGS, LikeRun, option_names, run_options
from pipeline.cli.resolved import misspelt_variables
from pipeline.settings import EXACTLY_ONCE, Topics, travelling_secrets
from schemas.serdes import SerdeSettings

app = typer.Typer()

_STYLES = {
    Outcome.OK: "green",
    Outcome.WARNING: "yellow",
    Outcome.FAILED: "bold red",
    Outcome.SKIPPED: "dim",
}
_FAILED = 1
_REMEDY = "Correct it where it comes from: `medstream config show` says where that is."
_REGISTRY_SECONDS = 2.0


@app.command(
    cls=LikeRun,
    context_settings=CONTEXT_SETTINGS,
    epilog="Exit codes: 0 nothing failed; 1 something did, or a setting cannot be read; 2 wrong usage. "
    "Beam's options (--runner=..., --job_endpoint=...) are taken as by medstream run.",
)
def doctor(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check everything that `medstream run` would need with the same options; each with remedy if it fails.

    Broker, TLS, login, topics, ACLs, registry, schemas, AWS credentials and region, the endpoint and its
    clock, the runner, this machine. All checks are made although some fail; nothing is created. Against AWS
    no stream is opened, since each is billed.
    """
    logs.configure("ERROR")
    options = run_options(ctx)
    refuse_near_misses(ctx.args, option_names(ctx))
    flags = beam_flags(options["beam_option"], ctx.args)
    results = _shown(job_checks(options, flags), as_json=as_json)
    if any(result.outcome is Outcome.FAILED for result in results):
        raise typer.Exit(_FAILED)


def job_checks(options: Mapping[str, Any], flags: list[str]) -> Iterator[Check]:
    """All checks of the job that `medstream run` would start, in the order of their dependencies."""
    yield from _settings_checks(options)
    yield from worker_checks(options["max_live_streams"])
    topics = _Topics(options)
    yield from KafkaChecks(
        _kafka_config(options),
        topics.by_option,
        topics.progress,
        group_id=options["group_id"],
        transactional_id=topics.transactional_id,
        may_create=False,
    ).checks()
    yield from RegistryChecks(lambda: _serdes(options), topics.by_schema, may_register=False).checks()
    yield from ServiceChecks(lambda: service_settings(options), options["profile"]).checks()
    job_endpoint = beam_flag(flags, "job_endpoint")
    yield from exposure_checks(flags)
    yield from runner_checks(beam_flag(flags, "runner"), job_endpoint, _travelling_secrets(options))
    yield from protocol_checks(job_endpoint)


class _Topics:
    """The job's topics as far as they are set; a topic named after one that is not set is not set either."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        audio, finals = options["input_topic"], options["output_topic"]
        named: Topics = job_topics({**options, "input_topic": audio or "", "output_topic": finals or ""})
        letters = options["dead_letter_topic"] or (named.dead_letters if audio else None)
        optional = {
            "--partials-topic": named.partials,
            "--sessions-topic": named.sessions,
            "--masked-topic": named.masked,
        }
        self.by_option: dict[str, str | None] = {
            "--input-topic": audio,
            "--output-topic": finals,
            "--dead-letter-topic": letters,
            **{option: topic for option, topic in optional.items() if topic is not None},
        }
        self.by_schema = tuple(
            (schema, topic if topic in self.by_option.values() else None)
            for schema, topic in schemas_of_topics(named, options["chunk_format"])
        )
        self.progress = options["progress_topic"] or (named.progress if finals else None)
        sink = options["sink_id"] or finals
        exactly_once = options["delivery"] == EXACTLY_ONCE and sink
        self.transactional_id = f"{sink}-0" if exactly_once else None


def _settings_checks(options: Mapping[str, Any]) -> Iterator[Check]:
    for name, read in PIECES.items():
        yield Check(
            f"settings.{name}", f"read the options of {name}", _settled(read, options), remedy=_REMEDY
        )
    yield Check("settings.environment", "look for misspelt variables (MEDSTREAM_...)", _environment)


def _settled(read: Callable[[Mapping[str, Any]], object], options: Mapping[str, Any]) -> Callable[[], str]:
    def attempt() -> str:
        read(options)
        return "they fit together"

    return attempt


def _environment() -> str:
    if said := misspelt_variables():
        raise Doubtful("; ".join(said), "Correct the name, or unset the variable.")
    return "none"


def _kafka_config(options: Mapping[str, Any]) -> Callable[[], ClientConfig]:
    def make() -> ClientConfig:
        if options["bootstrap_servers"] is None:
            raise NotPossible("--bootstrap-servers is not set")
        return kafka_config(options)

    return make


def _travelling_secrets(options: Mapping[str, Any]) -> list[str]:
    """None where the settings are wrong: other checks tell that."""
    try:
        return travelling_secrets(_kafka_config(options)(), registry_settings(options))
    except (NotPossible, *FORESEEN):
        return []


def _serdes(options: Mapping[str, Any]) -> SerdeSettings:
    """Whoever watches need not wait as long as a job for a registry that is away."""
    serdes = registry_settings(options)
    if serdes.registry is None:
        return serdes
    patience = min(serdes.registry.deadline_seconds, _REGISTRY_SECONDS)
    return replace(serdes, registry=replace(serdes.registry, deadline_seconds=patience))


# What is shown


def _shown(checks: Iterable[Check], *, as_json: bool) -> list[Result]:
    """Make the checks and print what came of them: JSON, a table on a terminal, lines elsewhere."""
    made = examine(checks, time.monotonic)
    if as_json:
        results = list(made)
        ok = not any(result.outcome is Outcome.FAILED for result in results)
        document = {"ok": ok, "checks": [result.as_dict() for result in results]}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return results
    if sys.stdout.isatty():
        return _table(made, Console())
    results = []
    for result in made:
        results.append(result)
        typer.echo(f"{result.outcome.value:8}{result.name}: {result.tried}: {result.found}")
        if result.remedy:
            typer.echo(f"{'':8}remedy: {result.remedy}")
    typer.echo(_summary(results))
    return results


def _table(made: Iterator[Result], console: Console) -> list[Result]:
    table = Table(box=None, pad_edge=False)
    table.add_column("result", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("what was tried, and found", overflow="fold")
    results = []
    with console.status("checking …") as status:
        for result in made:
            results.append(result)
            status.update(f"checked {result.name} …")
            style = _STYLES[result.outcome]
            text = Text(f"{result.tried}: {result.found}", style="dim" if style == "dim" else "")
            if result.remedy:
                text.append(f"\n→ {result.remedy}", style="bold")
            table.add_row(Text(result.outcome.value, style), Text(result.name, style), text)
    console.print(table)
    console.print(Text(_summary(results)))
    return results


def _summary(results: list[Result]) -> str:
    counts = {outcome: sum(result.outcome is outcome for result in results) for outcome in reversed(Outcome)}
    return ", ".join(f"{count} {outcome.value}" for outcome, count in counts.items() if count)
