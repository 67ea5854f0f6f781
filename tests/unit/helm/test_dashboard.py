"""The dashboard asks for metrics that exist, and for nothing else."""

import json
import re

from tests.charts import CHART, VALUE_SETS, find, render

DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
#: As docs.vllm.ai/en/stable/usage/metrics lists them, with Prometheus' endings.
VLLM = {
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:num_preemptions_total",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:request_success_total",
    "vllm:time_to_first_token_seconds_bucket",
    "vllm:inter_token_latency_seconds_bucket",
    "vllm:e2e_request_latency_seconds_bucket",
    "vllm:request_queue_time_seconds_bucket",
}


def expressions():
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def test_every_metric_exists():
    from prometheus_client import REGISTRY

    import serving.metrics

    serving.metrics.REQUESTS.labels("chat", "200")
    serving.metrics.SECONDS.labels("chat")
    serving.metrics.TOKENS.labels("prompt")
    ours = {sample.name for metric in REGISTRY.collect() for sample in metric.samples}
    asked = {name for text in expressions() for name in re.findall(r"\b((?:vllm:|expanse_)\w+)\{", text)}
    assert asked <= ours | VLLM, asked - ours - VLLM
    assert asked >= VLLM
    assert {name for name in asked if name.startswith("expanse_")} == {
        "expanse_requests_total",
        "expanse_request_seconds_bucket",
        "expanse_first_piece_seconds_bucket",
        "expanse_tokens_total",
        "expanse_running_sequences",
        "expanse_waiting_sequences",
        "expanse_cancelled_requests_total",
    }


def test_every_expression_keeps_to_the_chosen_namespace_and_model():
    for text in expressions():
        assert 'namespace="$namespace", inferenceservice=~"$service"' in text
        assert text.count("(") == text.count(")") and text.count("{") == text.count("}")


def test_the_label_that_it_filters_by_is_the_one_that_the_monitor_adds():
    (endpoint,) = find(render(VALUE_SETS["gpu"]), "ServiceMonitor", "expanse-predictors")["spec"]["endpoints"]
    assert [each["targetLabel"] for each in endpoint["relabelings"]] == ["inferenceservice"]


def test_panels_do_not_overlap_and_have_numbers_of_their_own():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) < 24


def test_the_config_map_holds_it_whole():
    data = find(render(VALUE_SETS["gpu"]), "ConfigMap", "expanse-dashboard")
    assert json.loads(data["data"]["expanse.json"]) == DASHBOARD
    assert data["metadata"]["labels"]["grafana_dashboard"] == "1"
