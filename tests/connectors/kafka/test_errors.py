"""Which errors a retry may cure, and that each message names a setting or a remedy."""

from __future__ import annotations

import pytest

from connectors.kafka import errors

CASES = [
    (errors.UnknownProperty("acks2", "x", ["acks"]), False, "acks"),
    (errors.InvalidProperty("linger.ms", "x", "must be a whole number"), False, "linger.ms"),
    (errors.UnreadableCommandConfig("/f", "No such file"), False, "--command-config"),
    (errors.InvalidBootstrapServers("a:b", "no port"), False, "--bootstrap-servers"),
    (errors.InsecureConnection("h:1", "PLAINTEXT"), False, "--insecure"),
    (errors.InvalidPosition("--stop-at", "soon", "expected one of end"), False, "--stop-at"),
    (errors.UnknownTopic("t", "--input-topic", "h:1"), False, "--input-topic"),
    (errors.GroupInUse("g"), False, "--group-id"),
    (errors.AuthenticationFailed("h:1", "PLAIN", "me"), False, "sasl.jaas.config"),
    (errors.NotAuthorized("topic t", "h:1"), False, "ACL"),
    (errors.PartitionsChanged("t", 2, 3), False, "--progress-topic"),
    (errors.PartitionsChanged("t", None, 3), False, "for another number"),
    (errors.NotCompacted("t", "--progress-topic", "delete"), False, "cleanup.policy=compact"),
    (errors.NoCompactedTopic("t", "--progress-topic", 3, "why"), False, "--partitions 3"),
    (errors.NotAuthorized("topic t", "h:1", "READ"), False, "operation READ"),
    (errors.AuthenticationFailed("h:1", "OAUTHBEARER", None, "expired"), False, "clientSecret"),
    (errors.AuthenticationFailed("h:1", "AWS_MSK_IAM", None), False, "kafka-cluster:Connect"),
    (errors.WrongSecurityProtocol("h:1", "SSL", "speaks no TLS", "Set it."), False, "security.protocol"),
    (errors.TlsFailed("h:1", "ssl.truststore.location", "unknown", "Set it."), False, "ssl.truststore"),
    (errors.TokenRequestFailed("https://idp/t", "HTTP 401"), False, "clientSecret"),
    (errors.TokenRequestFailed("https://idp/t", "HTTP 503", retryable=True), True, "HTTP 503"),
    (errors.TokenRequestFailed("/run/token", "it is empty"), False, "file"),
    (errors.AwsCredentialsNotFound("there are none"), False, "AWS_ACCESS_KEY_ID"),
    (errors.InsecureConnection("idp", "http", "sasl.oauthbearer.token.endpoint.url"), False, "https://"),
    (errors.BrokerUnreachable("h:1", "refused"), True, "--bootstrap-servers"),
    (errors.RecordTooLarge("t", 5), False, "max.message.bytes"),
    (errors.LostOffsets("t", 0, 3, 10), False, "offsets 3 to 9 of t-0"),
    (errors.DeliveryFailed("t", "KafkaTimeoutError"), True, "delivery.timeout.ms"),
    (errors.ProducerFenced("t-0"), True, "--sink-id"),
    (errors.ReadFailed("t", 0, "OSError"), True, "t-0"),
    (errors.ReadStuck("t", 0, 30.2), True, "after 30 s"),
]


@pytest.mark.parametrize(("error", "retryable", "named"), CASES)
def test_message_and_retryability(error: errors.KafkaConnectorError, retryable: bool, named: str) -> None:
    assert error.retryable is retryable
    assert named in str(error)
    assert "\n" not in str(error)


def test_every_error_is_in_the_table() -> None:
    classes = {
        cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)
    } - {errors.KafkaConnectorError, errors.SettingError}
    assert {type(error) for error, _, _ in CASES} == classes
