"""medstream as a Flex Template of Google Cloud Dataflow."""
