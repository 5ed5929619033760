"""The rules of ARCHITECTURE about who may import whom, as a checker over source text.

`violations(module, source, modules)` walks the syntax tree of one module, so it sees imports inside functions
and under TYPE_CHECKING too, and answers with one sentence per broken rule. `modules` are the names of all
modules of ours, needed to tell `from package import module` from `from package import name`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = ("schemas", "connectors", "pipeline", "deploy")  # each may import those before it
SIBLINGS = ("connectors.kafka", "connectors.transcribe")  # these ignore each other

PURE = frozenset(
    {
        "schemas",
        "schemas.codec",
        "schemas.compatibility",
        "schemas.documentation",
        "schemas.errors",
        "schemas.loopback",
        "schemas.references",
        "schemas.registry_serde",
        "schemas.registry_settings",
        "schemas.serde",
        "schemas.subjects",
        "schemas.wire",
        "connectors.kafka.configuration.config_providers",
        "connectors.kafka.configuration.consistency",
        "connectors.kafka.configuration.jaas",
        "connectors.kafka.configuration.properties",
        "connectors.kafka.configuration.refused_properties",
        "connectors.kafka.configuration.weaknesses",
        "connectors.kafka.errors",
        "connectors.kafka.log_scan",
        "connectors.kafka.observers",
        "connectors.kafka.reading.commit_gate",
        "connectors.kafka.reading.discovery",
        "connectors.kafka.reading.partition_range",
        "connectors.kafka.reading.positions",
        "connectors.kafka.recordings.container",
        "connectors.kafka.recordings.time_merge",
        "connectors.kafka.records",
        "connectors.kafka.security.tokens",
        "connectors.transcribe.clock",
        "connectors.transcribe.endpoint",
        "connectors.transcribe.errors",
        "connectors.transcribe.events",
        "connectors.transcribe.eventstream",
        "connectors.transcribe.http2_frames",
        "connectors.transcribe.http2_protocol",
        "connectors.transcribe.json_fields",
        "connectors.transcribe.model",
        "connectors.transcribe.presigned",
        "connectors.transcribe.protocol",
        "connectors.transcribe.sigv4",
        "connectors.transcribe.stream",
        "connectors.transcribe.websocket_protocol",
        "pipeline.audio.audio_decoding",
        "pipeline.audio.decoding",
        "pipeline.audio.ogg_opus",
        "pipeline.audio.playback",
        "pipeline.audio.raw_chunks",
        "pipeline.audio.resampling",
        "pipeline.checks.check",
        "pipeline.checks.exposure",
        "pipeline.checks.near_misses",
        "pipeline.cli.exit_codes",
        "pipeline.elements",
        "pipeline.engine",
        "pipeline.engine.answers",
        "pipeline.engine.books",
        "pipeline.engine.chunk_memory",
        "pipeline.engine.commands",
        "pipeline.engine.cursor",
        "pipeline.engine.failures",
        "pipeline.engine.feed",
        "pipeline.engine.hearing",
        "pipeline.engine.judging",
        "pipeline.engine.limits",
        "pipeline.engine.reassembly",
        "pipeline.engine.resequencer",
        "pipeline.engine.retry_budget",
        "pipeline.engine.session",
        "pipeline.engine.session_actions",
        "pipeline.engine.session_state",
        "pipeline.engine.stream_clock",
        "pipeline.engine.stream_state",
        "pipeline.engine.stream_view",
        "pipeline.engine.timeline",
        "pipeline.errors",
        "pipeline.export",
        "pipeline.export.captions",
        "pipeline.export.formats",
        "pipeline.export.html_page",
        "pipeline.export.html_style",
        "pipeline.export.json_document",
        "pipeline.export.lines",
        "pipeline.export.plain_text",
        "pipeline.export.speech",
        "pipeline.letters.letter_retry",
        "pipeline.letters.letter_selection",
        "pipeline.letters.letter_text",
        "pipeline.observability.metrics",
        "pipeline.observability.metrics_settings",
        "pipeline.output.entities",
        "pipeline.output.masking",
        "pipeline.output.output_values",
        "pipeline.output.outputs",
        "pipeline.output.progress",
        "pipeline.output.transcript_text",
        "pipeline.output.transcripts",
        "pipeline.output.trimming",
        "pipeline.recordings.record_selection",
        "pipeline.recordings.recording_report",
        "pipeline.recordings.replay_plan",
        "pipeline.watch",
        "pipeline.watch.access",
        "pipeline.watch.board",
        "pipeline.watch.lines",
        "pipeline.watch.table",
        "pipeline.watch.values",
        "pipeline.watch.views",
        "pipeline.worker.live_outputs",
        "pipeline.worker.stream_slots",
        "pipeline.worker.timer_schedule",
        "deploy.local.testing.alignment",
        "deploy.local.testing.comparison",
        "deploy.local.testing.expected",
        "deploy.local.testing.passages",
        "deploy.local.testing.report_json",
        "deploy.local.testing.report_lines",
        "deploy.local.testing.words",
    }
)
PURE_LIBRARIES = {
    "connectors.kafka.recordings.container": {"fastavro", "zstandard"},
    "schemas.codec": {"fastavro"},
    "schemas.compatibility": {"fastavro"},
    "connectors.transcribe.model": {"orjson"},
    "connectors.transcribe.sigv4": {"botocore"},
    "pipeline.audio.audio_decoding": {"numpy", "soundfile"},
    "pipeline.audio.resampling": {"numpy", "soxr"},
    "deploy.local.testing.alignment": {"jiwer"},
    "deploy.local.testing.report_lines": {"rich"},
    "pipeline.watch.table": {"rich"},
}
READS_FILES = {"schemas"}  # it loads the schemas that lie beside it
OUTSIDE_WORLD = frozenset(
    [
        "asyncio",
        "concurrent",
        "fcntl",
        "getpass",
        "http",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "queue",
        "random",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "socketserver",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "urllib.request",
    ]
)
# Functions that read the clock or roll dice, of modules that are otherwise plain calculation.
IMPURE_FUNCTIONS = frozenset(
    [
        "time.time",
        "time.time_ns",
        "time.monotonic",
        "time.monotonic_ns",
        "time.perf_counter",
        "time.perf_counter_ns",
        "time.process_time",
        "time.thread_time",
        "time.sleep",
        "time.localtime",
        "datetime.now",
        "datetime.utcnow",
        "datetime.today",
        "date.today",
        "uuid.uuid1",
        "uuid.uuid4",
        "uuid.getnode",
    ]
)
CLOCK_WITHOUT_ARGUMENT = frozenset({"time.gmtime", "time.ctime", "time.asctime"})

EVERYWHERE, IN_FUNCTIONS = "everywhere", "in functions only"
LIBRARIES: dict[str, dict[str, str]] = {
    "apache_beam": {
        "pipeline.keying": EVERYWHERE,
        "pipeline.transforms": EVERYWHERE,
        "pipeline.publishing": EVERYWHERE,
        "pipeline.dead_letters": EVERYWHERE,
        "pipeline.observability.job_metrics": EVERYWHERE,
        "pipeline.worker.bundle_metrics": EVERYWHERE,
        "pipeline.worker.state_weights": EVERYWHERE,
        "pipeline.graph": EVERYWHERE,
        "pipeline.options": EVERYWHERE,
        "pipeline.cli.run": IN_FUNCTIONS,  # Beam takes seconds to import
        "connectors.kafka.reading.restrictions": EVERYWHERE,
        "connectors.kafka.metering": EVERYWHERE,
        "connectors.kafka.source": EVERYWHERE,
        "connectors.kafka.sink": EVERYWHERE,
        "deploy.local.worker": EVERYWHERE,
        "deploy.docker.worker_pool": IN_FUNCTIONS,  # its probe needs none of it
        "deploy.local.jars": IN_FUNCTIONS,
    },
    "kafka": {
        "connectors.kafka": EVERYWHERE,
        "deploy.local.kafka": EVERYWHERE,  # the broker's readiness and topics
        "deploy.local.demo": EVERYWHERE,  # a plain producer and consumer, as people outside would write them
    },
    "botocore": {
        "connectors.kafka.security.msk_iam": EVERYWHERE,
        "connectors.transcribe.credentials": EVERYWHERE,
        "connectors.transcribe.sigv4": EVERYWHERE,
    },
    "soundfile": {
        "pipeline.audio.audio_decoding": EVERYWHERE,
        "pipeline.audio.audio_file": IN_FUNCTIONS,
        "pipeline.recordings.session_audio": IN_FUNCTIONS,
        "deploy.local.recordings": IN_FUNCTIONS,  # with numpy half a second to import
        "deploy.local.recordings.synthesise": EVERYWHERE,
    },
    "numpy": {
        "pipeline.audio.audio_decoding": EVERYWHERE,
        "pipeline.audio.audio_file": IN_FUNCTIONS,
        "pipeline.audio.resampling": EVERYWHERE,
        "deploy.local.recordings": EVERYWHERE,
        "deploy.local.transcribe.recognisers": EVERYWHERE,
    },
    "prometheus_client": {
        "pipeline.observability.metrics_endpoint": EVERYWHERE,
        "pipeline.observability.process_metrics": EVERYWHERE,
        "pipeline.observability.scraped_metrics": EVERYWHERE,
    },
    "opentelemetry": {"pipeline.observability.tracing": EVERYWHERE},  # an extra: its types, and in functions
    "soxr": {"pipeline.audio.resampling": EVERYWHERE},
    "urllib3": {"schemas.registry_http": EVERYWHERE},
    "jiwer": {"deploy.local.demo.wer": EVERYWHERE, "deploy.local.testing.alignment": EVERYWHERE},
    "starlette": {"pipeline.watch.web": EVERYWHERE},
    "uvicorn": {"pipeline.watch.serving": EVERYWHERE},
    "playwright": {"deploy.local.screens.browser": EVERYWHERE},  # of the extra dev
}


@dataclass(frozen=True, slots=True)
class Import:
    """`target`: the module imported, in full. `name`: what is taken from it by `from`, if anything."""

    target: str
    name: str | None
    line: int
    in_function: bool


def our_files() -> dict[str, Path]:
    """Every module of the distribution by its name."""
    return {
        module_name(path.relative_to(ROOT)): path
        for layer in LAYERS
        for path in sorted((ROOT / layer).rglob("*.py"))
    }


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def violations(module: str, source: str, modules: Collection[str]) -> list[str]:
    """One sentence for each rule that `source`, the text of `module`, breaks."""
    tree = ast.parse(source)
    found = list(_imports(tree, module, modules))
    sentences = [*_layers(module, found), *_siblings(module, found), *_libraries(module, found)]
    if module in PURE:
        sentences += [*_pure_imports(module, found), *_impure_calls(module, tree, found)]
    return sentences


def _imports(tree: ast.AST, module: str, modules: Collection[str]) -> Iterator[Import]:
    for node, in_function in _walk(tree, in_function=False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, node.lineno, in_function)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module)
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                if whole in modules or whole in OUTSIDE_WORLD:
                    yield Import(whole, None, node.lineno, in_function)
                else:
                    yield Import(base, alias.name, node.lineno, in_function)


def _walk(node: ast.AST, *, in_function: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        yield child, in_function
        inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(child, in_function=in_function or inner)


def _absolute(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    package = module.split(".")[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def _within(module: str, packages: Collection[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _layers(module: str, found: list[Import]) -> Iterator[str]:
    own = LAYERS.index(module.split(".")[0])
    for imported in found:
        layer = imported.target.split(".")[0]
        if layer in LAYERS and LAYERS.index(layer) > own:
            order = " <- ".join(LAYERS)
            yield f"{module}:{imported.line} imports {imported.target}: imports go one way, {order}"
        if layer == "tests":
            yield f"{module}:{imported.line} imports {imported.target}: tests are not part of the product"


def _siblings(module: str, found: list[Import]) -> Iterator[str]:
    for own, other in (SIBLINGS, SIBLINGS[::-1]):
        for imported in found:
            if _within(module, [own]) and _within(imported.target, [other]):
                yield f"{module}:{imported.line} imports {imported.target}: {own} ignores {other}"


def _libraries(module: str, found: list[Import]) -> Iterator[str]:
    for imported in found:
        library = imported.target.split(".")[0]
        if library not in LIBRARIES:
            continue
        allowed = [where for place, where in LIBRARIES[library].items() if _within(module, [place])]
        if EVERYWHERE in allowed or (IN_FUNCTIONS in allowed and imported.in_function):
            continue
        where = ", ".join(f"{place} ({how})" for place, how in LIBRARIES[library].items())
        yield f"{module}:{imported.line} imports {library}, which belongs in {where}"


def _pure_imports(module: str, found: list[Import]) -> Iterator[str]:
    for imported in found:
        target, top = imported.target, imported.target.split(".")[0]
        where = f"{module}:{imported.line} is pure and imports {target}"
        if top in LAYERS:
            if target not in PURE:
                yield f"{where}, which is not"
        elif top not in sys.stdlib_module_names and top not in PURE_LIBRARIES.get(module, ()):
            yield f"{where}, which is no part of the standard library"
        elif _within(target, OUTSIDE_WORLD) and not (target == "pathlib" and module in READS_FILES):
            yield f"{where}, which touches the outside world"
        elif f"{target}.{imported.name}" in IMPURE_FUNCTIONS:
            yield f"{where}.{imported.name}, which reads the clock or is random"


def _impure_calls(module: str, tree: ast.AST, found: list[Import]) -> Iterator[str]:
    """Uses of impure functions, such as `time.monotonic`, `datetime.now` or a bare `gmtime()`."""
    names = {imported.name: f"{imported.target}.{imported.name}" for imported in found if imported.name}
    with_argument = {
        id(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (node.args or node.keywords)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            function = ".".join(ast.unparse(node).split(".")[-2:])
        elif isinstance(node, ast.Name):
            function = names.get(node.id, "")
        else:
            continue
        reads_clock = function in CLOCK_WITHOUT_ARGUMENT and id(node) not in with_argument
        if function in IMPURE_FUNCTIONS or reads_clock:
            yield f"{module}:{node.lineno} is pure and uses {function}, which reads the clock or is random"
