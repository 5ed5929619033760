"""`medstream run`: check the settings, build the graph, submit the job to a Beam runner and stay with it.

Whatever is not an option of ours goes to Beam (`--runner`, `--job_endpoint`, `--parallelism` …), in the form
`--name=value`.
"""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer

from connectors.kafka.reading.positions import COMMITTED
from connectors.transcribe.endpoint import HTTP2
from pipeline.audio.raw_chunks import AVRO
from pipeline.checks.exposure import refuse_exposure
from pipeline.cli.beam_flags import BeamOption, ResumeFrom, beam_flags
from pipeline.cli.delivery_options import (
    Delivery,
    MaskedTopic,
    ProgressRetentionHours,
    ProgressTopic,
    SinkId,
)
from pipeline.cli.job_options import job_settings
from pipeline.cli.kafka_options import CommandConfig, KafkaProperty, ShipCommandConfig
from pipeline.cli.log_options import LogFormat, LogLevel, configure_logs
from pipeline.cli.metrics_options import MetricsAddress, MetricsPort, MetricsTargetsDir
from pipeline.cli.registry_options import (
    AutoRegisterSchemas,
    SchemaRegistryConfig,
    SchemaRegistryUrl,
    SubjectNameStrategy,
)
from pipeline.cli.resolved import misspelt_variables
from pipeline.cli.service_options import (
    CaFile,
    EndpointUrl,
    Insecure,
    Profile,
    Region,
    ResampleTo,
    Transport,
    UseDualstackEndpoint,
    UseFipsEndpoint,
)
from pipeline.cli.session_options import (
    CONTINUE,
    CatchUpRate,
    DrainTimeoutSeconds,
    EndedRetentionSeconds,
    IdleCloseSeconds,
    MaxGapSeconds,
    MaxLiveStreams,
    MaxRetries,
    MaxSegmentSeconds,
    MaxStreamOpensPerSecond,
    OnSequenceRestart,
    OutboundSeconds,
    ReorderWaitSeconds,
    SessionTimeoutSeconds,
    StreamLimitSeconds,
)
from pipeline.cli.settings_file import ConfigFile
from pipeline.cli.source_options import (
    ChunkFormat,
    DiscoveryIntervalSeconds,
    ReadIntervalMs,
    StartFrom,
    StopAt,
)
from pipeline.engine.limits import SessionLimits
from pipeline.errors import JobFailed
from pipeline.jobs.retained_checkpoints import resume_path
from pipeline.observability.json_logs import TEXT
from pipeline.observability.metrics_settings import LOOPBACK
from pipeline.settings import AT_LEAST_ONCE, JobSettings
from pipeline.worker.stream_slots import MAX_LIVE_STREAMS, MAX_OPENS_PER_SECOND

app = typer.Typer()


def _option(text: str, environment: str | None = None, **limits: Any) -> Any:
    """An option with its help, and the variable MEDSTREAM_<environment> that sets it too."""
    return typer.Option(help=text, envvar=f"MEDSTREAM_{environment}" if environment else None, **limits)


_LIMITS = SessionLimits()
_MAX_REASON_CHARS = 300
_LOCAL_CANCEL_HINT = "on the embedded Flink of this machine: medstream local cancel"


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="Other options, in the form --name=value, go to Beam: --runner=PortableRunner "
    "--job_endpoint=HOST:PORT --parallelism=4 ...",
)
def run(
    ctx: typer.Context,
    bootstrap_servers: Annotated[str, _option("Kafka brokers, host:port[,...].", "BOOTSTRAP_SERVERS")],
    input_topic: Annotated[str, _option("Topic of AudioChunk records, keyed by session.", "INPUT_TOPIC")],
    output_topic: Annotated[str, _option("Topic of FinalTranscript records.", "OUTPUT_TOPIC")],
    dead_letter_topic: Annotated[
        str | None,
        _option("Topic of DeadLetter records; INPUT_TOPIC.dead-letters without.", "DEAD_LETTER_TOPIC"),
    ] = None,
    partials_topic: Annotated[
        str | None, _option("Topic of PartialTranscript records; not published without.", "PARTIALS_TOPIC")
    ] = None,
    sessions_topic: Annotated[
        str | None, _option("Topic of SessionEnded records; not published without.", "SESSIONS_TOPIC")
    ] = None,
    masked_topic: MaskedTopic = None,
    chunk_format: ChunkFormat = AVRO,
    delivery: Delivery = AT_LEAST_ONCE,
    progress_topic: ProgressTopic = None,
    sink_id: SinkId = None,
    progress_retention_hours: ProgressRetentionHours = 24.0,
    command_config: CommandConfig = None,
    ship_command_config: ShipCommandConfig = False,
    kafka_property: KafkaProperty = None,
    start_from: StartFrom = "committed",
    stop_at: StopAt = None,
    discovery_interval_seconds: DiscoveryIntervalSeconds = 10.0,
    read_interval_ms: ReadIntervalMs = 100,
    on_lost_offsets: Annotated[
        str, _option("When retention took records that were not read: fail, or skip them.", "ON_LOST_OFFSETS")
    ] = "fail",
    group_id: Annotated[str, _option("Consumer group to commit offsets for.", "GROUP_ID")] = "medstream",
    region: Region = None,
    endpoint_url: EndpointUrl = None,
    transport: Transport = HTTP2,
    use_fips_endpoint: UseFipsEndpoint = False,
    use_dualstack_endpoint: UseDualstackEndpoint = False,
    ca_file: CaFile = None,
    profile: Profile = None,
    resample_to: ResampleTo = None,
    specialty: Annotated[str, _option("Specialty of sessions that name none.", "SPECIALTY")] = "PRIMARYCARE",
    type_: Annotated[
        str,
        typer.Option(
            "--type",
            help="CONVERSATION or DICTATION, for sessions that name none.",
            envvar="MEDSTREAM_TYPE",
        ),
    ] = "CONVERSATION",
    session_timeout_seconds: SessionTimeoutSeconds = _LIMITS.session_timeout_seconds,
    ended_retention_seconds: EndedRetentionSeconds = _LIMITS.ended_retention_seconds,
    idle_close_seconds: IdleCloseSeconds = _LIMITS.idle_close_seconds,
    drain_timeout_seconds: DrainTimeoutSeconds = _LIMITS.drain_timeout_seconds,
    stream_limit_seconds: StreamLimitSeconds = _LIMITS.stream_limit_seconds,
    max_segment_seconds: MaxSegmentSeconds = _LIMITS.max_segment_seconds,
    reorder_wait_seconds: ReorderWaitSeconds = _LIMITS.reorder_wait_seconds,
    max_gap_seconds: MaxGapSeconds = _LIMITS.max_gap_seconds,
    on_sequence_restart: OnSequenceRestart = CONTINUE,
    outbound_seconds: OutboundSeconds = _LIMITS.outbound_seconds,
    catch_up_rate: CatchUpRate = 2.0,
    max_live_streams: MaxLiveStreams = MAX_LIVE_STREAMS,
    max_stream_opens_per_second: MaxStreamOpensPerSecond = MAX_OPENS_PER_SECOND,
    max_retries: MaxRetries = _LIMITS.max_retries,
    schema_registry_url: SchemaRegistryUrl = None,
    schema_registry_config: SchemaRegistryConfig = None,
    subject_name_strategy: SubjectNameStrategy = None,
    auto_register_schemas: AutoRegisterSchemas = False,
    resume_from: ResumeFrom = None,
    beam_option: BeamOption = None,
    insecure: Insecure = False,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = LOOPBACK,
    metrics_targets_dir: MetricsTargetsDir = None,
    config: ConfigFile = None,
    log_level: LogLevel = "WARNING",
    log_format: LogFormat = TEXT,
) -> None:
    """Run the job: audio chunks from Kafka, live transcription, finals to Kafka."""
    configure_logs(log_level, log_format)
    for sentence in misspelt_variables():
        typer.echo(f"medstream: {sentence}", err=True)
    settings = job_settings(ctx.params)
    own_options = [name for parameter in ctx.command.params for name in parameter.opts]
    flags = beam_flags(beam_option, ctx.args)
    if resume_from is not None:
        flags = [*flags, f"--savepoint_path={resume_path(resume_from)}"]
    submit(settings, flags, own_options)


def submit(settings: JobSettings, beam_flags: list[str], own_options: list[str]) -> None:
    """Check everything, run the job until it ends; Ctrl-C and SIGTERM cancel it."""
    refuse_exposure(beam_flags)
    # Beam takes seconds to import; wrong settings should be told before.
    from pipeline.checks.preflight import check_job, check_runner

    settings = check_job(settings)
    _tell_what_stays_unpublished(settings)
    from apache_beam.options.pipeline_options import PortableOptions, StandardOptions

    from pipeline.options import beam_options

    options = beam_options(beam_flags, own_options, ends=settings.stop_at is not None)
    runner = options.view_as(StandardOptions).runner
    check_runner(settings, runner, options.view_as(PortableOptions).job_endpoint)
    _run(settings, options)


def _tell_what_stays_unpublished(settings: JobSettings) -> None:
    """Whoever reads a topic again from its beginning may expect its finals again."""
    if settings.start == COMMITTED:
        return
    from pipeline.output.unfinished_sessions import read_markers

    if count := len(read_markers(settings)):
        typer.echo(
            f"medstream: {count} sessions are known to {settings.topics.progress} (--progress-topic); what "
            "was published of them is not published again. To have it anew: another --output-topic",
            err=True,
        )


def _run(settings: JobSettings, options: Any) -> None:
    import apache_beam as beam

    from pipeline import graph

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pipeline = beam.Pipeline(options=options)
    graph.build(pipeline, settings)
    result = pipeline.run()
    typer.echo(f"medstream: job submitted, {settings.topics.audio} -> {settings.topics.finals}", err=True)
    if _is_only_a_template(options):
        return
    try:
        result.wait_until_finish()
    except KeyboardInterrupt:
        typer.echo(f"medstream: asked the runner to cancel the job ({_LOCAL_CANCEL_HINT})", err=True)
        result.cancel()
        raise
    except RuntimeError as error:  # how Beam's runners tell that the job has failed
        reason = " ".join(str(error).split())[:_MAX_REASON_CHARS]
        raise JobFailed(
            f"the job ended in failure: {reason}; see the runner's and the workers' logs"
        ) from None


def _is_only_a_template(options: Any) -> bool:
    """Whether Dataflow's launcher only wants the job's description: it submits the job when we have ended."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    return bool(options.view_as(GoogleCloudOptions).template_location)
