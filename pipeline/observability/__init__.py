"""What a job shows of itself: metrics, logs and spans, without patient data.

`metrics.py` lists every metric. Beam has them by `job_metrics.py`, Prometheus by `process_metrics.py` (what
is counted), `scraped_metrics.py` (what is looked up) and `metrics_endpoint.py`. Logs go through
`log_policy.py` and `json_logs.py`, spans through `tracing.py`.
"""
