"""Checks of the service: credentials, region, the way to the endpoint, its clock, and a stream that costs
nothing.

Against AWS no stream is opened, since each one is billed. An endpoint of one's own (`--endpoint-url`) gets a
real handshake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import cached_property

from connectors.transcribe.clock import MIN_SKEW_MS
from connectors.transcribe.connecting import tls_context
from connectors.transcribe.credentials import check_region, load_credentials
from connectors.transcribe.errors import AccessDeniedError, TranscribeError
from connectors.transcribe.server_date import clock_offset_ms
from connectors.transcribe.sigv4 import MAX_SIGNATURE_AGE_MS
from pipeline.checks.check import Check, Doubtful, NotNeeded
from pipeline.elements import AudioFormat, SessionSettings
from pipeline.errors import SettingsError
from pipeline.worker.service import ServiceSettings

_HANDSHAKE_SECONDS = 10.0
_HANDSHAKE_STREAM_ID = "00000000-0000-4000-8000-000000000000"
_CREDENTIALS, _REGION, _ENDPOINT = "aws.credentials", "aws.region", "service.endpoint"
_CONNECTION = "service.connection"
_CLOCK_REMEDY = "Set this machine's clock (chronyc tracking, timedatectl), or the endpoint's."


class ServiceChecks:
    """The checks of the service that a job would use."""

    def __init__(self, service: Callable[[], ServiceSettings], profile_name: str | None) -> None:
        self._make_service = service
        self._profile_name = profile_name

    def before_a_job(self) -> Iterator[Check]:
        """In the order of their dependencies; nothing that AWS would hear of."""
        yield Check(
            _CREDENTIALS,
            "find AWS credentials (botocore's chain)",
            self._credentials,
            remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --profile, or run with a role.",
        )
        yield Check(_REGION, "find the region, and the service in it", self._region, remedy="Set --region.")
        yield Check(
            _ENDPOINT,
            "read the endpoint's address and authorities",
            self._endpoint,
            (_REGION,),
            "Correct --endpoint-url or --ca-file.",
        )

    def handshake(self, needs: tuple[str, ...] = ()) -> Check:
        """A stream of 0.1 s, with an endpoint of one's own."""
        return Check(
            "service.handshake",
            "open a stream and end it",
            self._handshake,
            (_CREDENTIALS, _ENDPOINT, *needs),
            "Check --endpoint-url, --region and the AWS credentials against the endpoint's own.",
        )

    def checks(self) -> Iterator[Check]:
        """All, in the order of their dependencies."""
        yield from self.before_a_job()
        yield Check(
            _CONNECTION,
            "ask the endpoint for its date (opens no stream)",
            self._connection,
            (_ENDPOINT,),
            "Check the network, its proxy (HTTPS_PROXY), --endpoint-url, and --ca-file for a private "
            "authority.",
        )
        yield Check(
            "service.clock",
            "compare this machine's clock with the endpoint's",
            self._clock,
            (_CONNECTION,),
            _CLOCK_REMEDY,
        )
        yield self.handshake((_CONNECTION,))

    @cached_property
    def _service(self) -> ServiceSettings:
        return self._make_service()

    @cached_property
    def _offset_ms(self) -> int | None:
        return asyncio.run(clock_offset_ms(self._service.endpoint(), self._service.ca_bundle))

    def _credentials(self) -> str:
        key = load_credentials(self._profile_name).access_key_id
        return f"access key {key[:4]}…{key[-4:]}"

    def _region(self) -> str:
        service = self._service
        if service.endpoint_url is None:
            check_region(service.region, use_fips=service.use_fips, use_dualstack=service.use_dualstack)
            return f"{service.region} has Amazon Transcribe streaming"
        return f"{service.region}, for an endpoint of your own"

    def _endpoint(self) -> str:
        endpoint = self._service.endpoint()
        if endpoint.uses_tls:
            tls_context(self._service.ca_bundle, "h2")  # reads the authorities
        return f"{endpoint.url} over {self._service.transport}"

    def _connection(self) -> str:
        dated = "with a date" if self._offset_ms is not None else "without a date"
        return f"{self._service.endpoint().url} answers, {dated}"

    def _clock(self) -> str:
        if self._offset_ms is None:
            raise NotNeeded("the endpoint sends no date over HTTP/1.1")
        seconds = round(self._offset_ms / 1000)
        if abs(self._offset_ms) < MIN_SKEW_MS:
            return f"the difference is {abs(seconds)} s"
        found = f"the endpoint's clock is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} this one"
        if abs(self._offset_ms) < MAX_SIGNATURE_AGE_MS:
            raise Doubtful(found, _CLOCK_REMEDY)
        raise SettingsError("clock", f"{found}; signatures older than five minutes are refused")

    def _handshake(self) -> str:
        if self._service.endpoint_url is None:
            raise NotNeeded("AWS bills every stream")
        return asyncio.run(_handshake(self._service))


async def _handshake(service: ServiceSettings) -> str:
    audio = AudioFormat(16_000)
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            stream = await service.open_stream(audio, SessionSettings(), _HANDSHAKE_STREAM_ID)
            await stream.send_audio(bytes(2 * audio.sample_rate_hertz // 10))
            await stream.end()
            while await stream.receive() is not None:
                pass
            await stream.close()
    except TimeoutError:
        raise SettingsError(
            "--endpoint-url",
            f"{service.endpoint_url} accepted the connection but did not answer within "
            f"{_HANDSHAKE_SECONDS:.0f} s; is it a Transcribe-compatible endpoint?",
        ) from None
    except TranscribeError as error:
        if error.throttling:
            return "it answered, and is busy"  # settings are right
        setting = _setting_at_fault(error)
        raise SettingsError(
            setting, f"{service.endpoint_url} refused a test stream: {error.message}"
        ) from None
    return "a stream was opened and ended"


def _setting_at_fault(error: TranscribeError) -> str:
    if not isinstance(error, AccessDeniedError):
        return "--endpoint-url"
    return "--region" if "region" in error.message else "AWS credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE)"
