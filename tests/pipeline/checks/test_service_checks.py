"""What is asked of AWS itself: nothing that is billed. (Endpoints of one's own: `test_preflight`.)"""

from __future__ import annotations

import pytest

from pipeline.checks.check import NotNeeded
from pipeline.checks.service_checks import ServiceChecks
from pipeline.worker.service import ServiceSettings


def test_no_stream_is_opened_against_aws() -> None:
    checks = ServiceChecks(lambda: ServiceSettings("us-east-1"), None)
    with pytest.raises(NotNeeded, match="bills every stream"):
        checks.handshake().attempt()


def test_before_a_job_aws_is_not_asked_for_its_clock() -> None:
    names = [check.name for check in ServiceChecks(lambda: ServiceSettings("us-east-1"), None).before_a_job()]
    assert names == ["aws.credentials", "aws.region", "service.endpoint"]
