# Flink as it comes, with the S3 file system (a plug-in that must lie in its folder before Flink starts, so that the
# root file system can be read-only) and a folder for checkpoints that belongs to Flink's user (9999).
# The version is the newest of Flink 1.19, one of those that Beam 2.77 publishes a job server for; Java 11 needs no
# --add-opens. Pin by digest as in Dockerfile.
ARG FLINK_IMAGE=flink:1.19.3-scala_2.12-java11
FROM ${FLINK_IMAGE}
USER 0
RUN mkdir -p /opt/flink/plugins/s3-fs-hadoop /flink-data \
    && cp /opt/flink/opt/flink-s3-fs-hadoop-*.jar /opt/flink/plugins/s3-fs-hadoop/ \
    && chown -R 9999:9999 /opt/flink/plugins/s3-fs-hadoop /flink-data
USER 9999:9999
