"""What is likely wrong and what to do, in English and Chinese."""

from collections.abc import Mapping
from dataclasses import dataclass

from inference.alerts.model import SHARES, Alert, Metric, Phase

LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """`what`: the name of the metric in a sentence."""

    what: str
    likely: str
    do: str


def _text(what: str, likely: str, do: str) -> Text:
    return Text(what=what, likely=likely, do=do)


CATALOGUE: Mapping[str, Mapping[Metric, Text]] = {
    "en": {
        Metric.ERROR_RATIO: _text(
            "the share of failed tasks",
            "The model refuses these inputs, an engine process dies, or its device is out of memory.",
            "Look at `error_codes` in GET /services/{id}/metrics and at GET /tasks?status=failed; after a new version, "
            "switch back to the one before.",
        ),
        Metric.LATENCY: _text(
            "the mean latency",
            "Tasks wait, since more come than the engines take, or the engine has become slower.",
            "Compare queue_wait with run_time in GET /services/{id}/metrics: add instances when tasks wait, look at "
            "the device or at the model when the engine is slow.",
        ),
        Metric.LATENCY_P95: _text(
            "the latency of the slowest twentieth",
            "Bursts wait behind one another, large inputs share batches with small ones, or a device is shared.",
            "Compare queue_wait_p95 with latency_p95; add instances, switch auto-scaling on, or lower max_batch.",
        ),
        Metric.LATENCY_P99: _text(
            "the latency of the slowest hundredth",
            "Single tasks meet a restart, a full queue or a very large batch.",
            "Look at the slowest tasks of GET /tasks and at the events of the service.",
        ),
        Metric.QUEUE_WAIT_P95: _text(
            "the wait in the queue",
            "More tasks come than the engines take.",
            "Add instances or replicas, or switch auto-scaling on.",
        ),
        Metric.QUEUE_LENGTH: _text(
            "the number of waiting tasks",
            "More tasks come than the engines take, or no engine is ready.",
            "GET /services/{id} says whether a replica is ready; if so add instances, or switch auto-scaling on.",
        ),
        Metric.THROUGHPUT: _text(
            "the throughput",
            "Fewer tasks come than usual, or the engines stand still.",
            "Look whether tasks wait: if none does, ask those who send them.",
        ),
        Metric.CPU: _text(
            "the use of the processor",
            "Decoding, hooks or the engine itself need more cores than there are.",
            "Lower `instances` or the engine's threads, or give the service another node.",
        ),
        Metric.MEMORY_BYTES: _text(
            "the memory in use",
            "Large batches, or a model that keeps what it was given.",
            "Lower max_batch or `instances`; when it grows for ever, restart the service and look at its hooks.",
        ),
        Metric.GPU: _text(
            "the use of the GPU",
            "The service holds a card that it hardly needs, or its engine waits for decoding and hooks.",
            "Lower `replicas`, let it share a card (gpu_memory), or set idle_ttl_s so that it gives the card up.",
        ),
        Metric.QUEUE_AGE: _text(
            "the wait of the oldest task",
            "No engine is ready, or its worker stands still.",
            "GET /services/{id} gives the reason when no replica is ready; otherwise restart the service.",
        ),
        Metric.LOAD_FAILURES: _text(
            "the number of failed loads in a row",
            "The model file is damaged, does not fit into the memory, or its framework is not installed.",
            "GET /services/{id} gives the engine's own words; mend the model or the requirements, then restart.",
        ),
        Metric.AVAILABILITY: _text(
            "the availability",
            "The service was in error, or its node was gone.",
            "GET /services/{id}/history tells when and why; a second replica on another node helps.",
        ),
        Metric.BUDGET_USED: _text(
            "what is spent of the soft limit",
            "More was held than planned; idle replicas cost as much as busy ones.",
            "GET /costs?by=service shows what was idle; lower `replicas`, set idle_ttl_s, or raise the budget.",
        ),
        Metric.LOG_RATE: _text(
            "the number of matching log entries a minute",
            "What the entries say: the rule only counts them.",
            "Read them: GET /services/{id}/logs with the rule's level and keyword.",
        ),
    },
    "zh": {
        Metric.ERROR_RATIO: _text(
            "失败任务的比例",
            "模型拒绝这些输入，引擎进程崩溃，或设备内存不足。",
            "查看 GET /services/{id}/metrics 中的 error_codes 以及 GET /tasks?status=failed 的错误；"
            "若刚更新版本，请切回上一版本。",
        ),
        Metric.LATENCY: _text(
            "平均延迟",
            "任务到来的速度超过引擎的处理能力，任务在排队；或引擎变慢。",
            "在 GET /services/{id}/metrics 中比较 queue_wait 与 run_time：排队则增加实例，引擎慢则检查设备或模型。",
        ),
        Metric.LATENCY_P95: _text(
            "95 分位延迟",
            "突发任务互相等待，大小输入混在同一批，或设备被共享。",
            "比较 queue_wait_p95 与 latency_p95；增加实例、开启自动伸缩，或降低 max_batch。",
        ),
        Metric.LATENCY_P99: _text(
            "99 分位延迟",
            "个别任务遇到重启、队列拥堵或过大的批次。",
            "查看 GET /tasks 中最慢的任务以及服务的事件。",
        ),
        Metric.QUEUE_WAIT_P95: _text(
            "排队等待时间", "任务到来的速度超过引擎的处理能力。", "增加实例或副本，或开启自动伸缩。"
        ),
        Metric.QUEUE_LENGTH: _text(
            "等待中的任务数",
            "任务到来的速度超过引擎的处理能力，或没有就绪的引擎。",
            "GET /services/{id} 说明是否有就绪副本；若有则增加实例，或开启自动伸缩。",
        ),
        Metric.THROUGHPUT: _text(
            "吞吐量", "到来的任务比平时少，或引擎停滞。", "查看是否有任务在等待：若没有，请询问任务的发送方。"
        ),
        Metric.CPU: _text(
            "处理器使用量", "解码、钩子或引擎需要的核心超过现有数量。", "降低 instances 或引擎线程数，或换一台节点。"
        ),
        Metric.MEMORY_BYTES: _text(
            "内存使用量",
            "批次过大，或模型不释放内存。",
            "降低 max_batch 或 instances；若持续增长，请重启服务并检查其钩子。",
        ),
        Metric.GPU: _text(
            "GPU 利用率",
            "服务占用了几乎不需要的显卡，或引擎在等待解码和钩子。",
            "降低 replicas，用 gpu_memory 共享显卡，或设置 idle_ttl_s 让它释放显卡。",
        ),
        Metric.QUEUE_AGE: _text(
            "最早任务的等待时间",
            "没有就绪的引擎，或其工作进程停滞。",
            "若没有就绪副本，GET /services/{id} 会给出原因；否则请重启服务。",
        ),
        Metric.LOAD_FAILURES: _text(
            "连续加载失败次数",
            "模型文件损坏、内存放不下，或未安装对应框架。",
            "GET /services/{id} 给出引擎的原话；修复模型或资源需求后重启。",
        ),
        Metric.AVAILABILITY: _text(
            "可用性",
            "服务出错，或其节点已离线。",
            "GET /services/{id}/history 说明时间与原因；在另一台节点上增加一个副本会有帮助。",
        ),
        Metric.BUDGET_USED: _text(
            "软限额的已用部分",
            "占用超出计划；空闲副本与繁忙副本花费相同。",
            "GET /costs?by=service 显示空闲部分；降低 replicas、设置 idle_ttl_s，或提高预算。",
        ),
        Metric.LOG_RATE: _text(
            "每分钟匹配的日志条数",
            "以日志内容为准：规则只计数。",
            "请按规则的级别和关键词阅读 GET /services/{id}/logs。",
        ),
    },
}

_FORMS = {
    ("en", False): "{name}: {what} of {who} is {value} (limit {limit}).",
    ("en", True): "{name}: {what} of {who} is well again.",
    ("zh", False): "{name}：{who}的{what}为 {value}（阈值 {limit}）。",
    ("zh", True): "{name}：{who}的{what}已恢复。",
}
_WHO = {"en": ("service {name}", "the tenant"), "zh": ("服务 {name} ", "租户")}


def of(metric: Metric, language: str, service_id: str) -> Text:
    """The texts of this metric, with the service's id where a call is named."""
    text = CATALOGUE[language][metric]
    return Text(what=text.what, likely=text.likely, do=text.do.replace("{id}", service_id or "ID"))


def summary(alert: Alert, service_name: str, language: str) -> str:
    """One sentence on what was found."""
    one, nobody = _WHO[language]
    return _FORMS[language, alert.phase is Phase.RESOLVED].format(
        name=alert.name,
        what=CATALOGUE[language][alert.metric].what,
        who=one.format(name=service_name or alert.service_id) if alert.service_id else nobody,
        value=shown(alert.metric, alert.value),
        limit=shown(alert.metric, alert.threshold),
    )


def shown(metric: Metric, value: float | None) -> str:
    """A figure for people: shares in percent, durations in seconds."""
    if value is None:
        return "-"
    if metric in SHARES or metric is Metric.BUDGET_USED:
        return f"{_plain(value * 100)} %"
    if metric is Metric.MEMORY_BYTES and abs(value) >= 1e6:
        unit, size = ("GB", 1e9) if abs(value) >= 1e9 else ("MB", 1e6)
        return f"{_plain(value / size)} {unit}"
    is_duration = metric.value.startswith(("latency", "queue_wait")) or metric is Metric.QUEUE_AGE
    return f"{_plain(value)} s" if is_duration else _plain(value)


def _plain(value: float) -> str:
    """Four digits, or all before the point; never with an exponent, which few people read."""
    if abs(value) >= 1e15:
        return "more than 10^15" if value > 0 else "less than -10^15"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 0.001 or not value else f"{value:.6f}".rstrip("0").rstrip(".")
