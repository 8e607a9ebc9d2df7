"""Puts the adapters behind the ports: what every entry point calls first."""

from collections.abc import Callable, Mapping, Sequence

from inference.access.door import Door
from inference.access.ports import AccessPorts
from inference.access.quotas import Quotas
from inference.access.rates import Rates
from inference.access.ring import KeyRing
from inference.access.sharing import Sharing
from inference.access.wrong_keys import WrongKeys
from inference.alerts.ports import AlertPorts
from inference.backup.ports import BackupPorts
from inference.blobs.fetch import InputFetch
from inference.blobs.files import FileBlobs
from inference.blobs.s3 import S3Blobs, require_library
from inference.core import Core
from inference.costs import budgets
from inference.costs.gate import BudgetGate
from inference.costs.ports import CostPorts
from inference.errors import HotUnavailable, TenantNotFound
from inference.jobs import webhook
from inference.jobs.admission import BacklogQuota
from inference.jobs.by_model import CachedByModel
from inference.jobs.commit import GroupCommit
from inference.jobs.directory import CachedDirectory
from inference.jobs.fair import FairOrder
from inference.jobs.fallback import CachedFallback
from inference.jobs.large import LargeResults
from inference.jobs.pace import CachedPace
from inference.jobs.ports import Bell, JobPorts
from inference.logs.keeper import Keeper
from inference.logs.ports import LogsPorts
from inference.notify.ports import NotifyPorts
from inference.redisio.client import RedisLink
from inference.redisio.counts import RedisCounts
from inference.redisio.express import RedisExpress
from inference.redisio.figures import RedisFigures
from inference.redisio.hot import RedisHotResults
from inference.redisio.progress import RedisProgress
from inference.registry.ports import BlobStore, RegistryPorts
from inference.reports.ports import Nudge, ReportPorts
from inference.resources.ports import ResourcesPorts
from inference.results.ports import ResultsPorts
from inference.scaling.ports import ScalingPorts
from inference.serving import quota
from inference.serving.model import Service
from inference.serving.ports import Kick, ServingPorts
from inference.settings import Settings
from inference.store.alert_rules import SqlAlertRules
from inference.store.alert_sources import SqlAlertSources
from inference.store.alerts import SqlAlerts
from inference.store.audit import SqlAudit
from inference.store.backups import SqlBackups
from inference.store.budgets import SqlBudgets, SqlPrices
from inference.store.bulk import SqlBulk
from inference.store.configuration import SqlConfiguration
from inference.store.costs import SqlCosts
from inference.store.database import Database
from inference.store.deployments import SqlDeployments
from inference.store.devices import SqlDevices
from inference.store.fallback import SqlFallback
from inference.store.flow import SqlFlow
from inference.store.instances import SqlInstances
from inference.store.jobs import SqlJobs
from inference.store.keys import SqlKeys
from inference.store.leases import SqlLeases
from inference.store.logs import SqlLogs
from inference.store.models import SqlModels
from inference.store.nodes import SqlNodes
from inference.store.outbox import SqlOutbox
from inference.store.profiles import SqlProfiles
from inference.store.replicas import SqlReplicas
from inference.store.report_sources import SqlReportSources
from inference.store.reports import SqlReports
from inference.store.result_cache import SqlResultCache
from inference.store.samples import SqlSamples
from inference.store.scaling import SqlScaling
from inference.store.schema import require_current
from inference.store.series import SqlSeries
from inference.store.services import SqlServices
from inference.store.tenants import SqlTenants
from inference.store.ticks import SqlTicks
from inference.store.uploads import SqlUploads
from inference.store.usage import SqlUsage
from inference.store.webhook_secrets import SqlWebhookSecrets
from inference.telemetry.log_queue import Here
from inference.telemetry.ports import TelemetryPorts
from inference.tracing import Tracer

EXPRESS_TIMEOUT_S = 1.0
"""An exchange that is given up loses the predictions that it took."""


def _waiting_in(lane: RedisExpress) -> Callable[[Sequence[str]], Mapping[str, int]]:
    """Without Redis nobody waits for a prediction for long."""

    def waiting_in(service_ids: Sequence[str]) -> Mapping[str, int]:
        try:
            return lane.waiting_in(service_ids)
        except HotUnavailable:
            return {}

    return waiting_in


def _predicted(figures: RedisFigures) -> Callable[[], Mapping[str, float]]:
    def predicted() -> Mapping[str, float]:
        try:
            found = figures.newest()
        except HotUnavailable:
            return {}
        return {} if found is None else {one: s.predictions for one, s in found.services.items() if s.predictions}

    return predicted


def _affordable(costs: CostPorts) -> Callable[[Sequence[Service]], Mapping[str, int]]:
    def affordable(services: Sequence[Service]) -> Mapping[str, int]:
        limits = {s.id: (s.tenant_id, s.config.auto_scaling.max_cost_per_hour) for s in services}
        return budgets.affordable(costs, limits)

    return affordable


def _allowed(serving: ServingPorts, tenants: SqlTenants) -> Callable[[Service], quota.Allowed | None]:
    def allowed(service: Service) -> quota.Allowed | None:
        try:
            limits = tenants.get(service.tenant_id).limits
        except TenantNotFound:
            return None
        return quota.most_replicas(serving, limits=limits, service=service)

    return allowed


def _blobs(settings: Settings) -> BlobStore:
    if settings.blobs.store == "s3" or settings.inputs.s3_buckets:
        require_library()
    if settings.blobs.store == "files":
        return FileBlobs(settings.data_dir / "blobs")
    return S3Blobs(settings.blobs, settings.data_dir / "cache")


def _keeper(store: SqlLogs, settings: Settings) -> Keeper | None:
    """Of a process that logs: a command at a terminal has nothing to keep."""
    if not (Here.is_logging and settings.logs.is_kept):
        return None
    from inference.telemetry import metrics  # once it was said where metrics are kept

    return Keeper(store, settings.logs, shed=metrics.log_entries_shed.inc).start()


def _tracer(settings: Settings, now_s: Callable[[], float]) -> Tracer | None:
    """Of a process that logs, where the settings name a collector."""
    if not (Here.is_logging and settings.traces.endpoint):
        return None
    from inference.telemetry import metrics, otlp

    return otlp.tracer(
        settings.traces,
        role=Here.role,
        now_s=now_s,
        count=lambda result, count: metrics.spans.labels(result).inc(count),
    )


class Silence:
    """A bell, a kick and a nudge that nobody hears, for processes that only read."""

    def ring(self, service_id: str, *, slots: int) -> None:
        pass

    def ring_early(self, service_id: str, *, slots: int) -> bool:
        return True

    def heed(self) -> None:
        pass

    def deliver(self, service_id: str, *, slot: int, token: str, slots: int) -> None:
        pass

    def reconcile(self) -> None:
        pass

    def report(self) -> None:
        pass


def check_store(settings: Settings) -> None:
    """Opens the database for this alone. Raises what `build` raises."""
    database = Database(settings.database_url, settings.store)
    try:
        require_current(database)
    finally:
        database.close()


def has_keys(settings: Settings) -> bool:
    """Whether a person's key was ever made. Opens the database for this alone. Raises what `build` raises."""
    database = Database(settings.database_url, settings.store)
    try:
        require_current(database)
        known = SqlKeys(database).changes(0)
        return known is not None and known.is_closed
    finally:
        database.close()


def build(
    settings: Settings, *, bell: Bell | None = None, kick: Kick | None = None, nudge: Nudge | None = None
) -> Core:
    """The ports of one process. Opens no connection to Redis yet, and one to the database, to check its schema.

    Raises BadSettings for an impossible URL, StoreUnavailable when the database is away or not migrated.
    """
    database = Database(settings.database_url, settings.store)
    require_current(database)
    # Hot copies are worth no wait: a Redis that hangs must cost less than the database that stands behind them.
    link = RedisLink(settings, timeout_s=settings.redis.publish_timeout_s)
    express = RedisLink(settings, timeout_s=EXPRESS_TIMEOUT_S)
    blobs = _blobs(settings)
    store, models, services = SqlJobs(database), SqlModels(database), SqlServices(database)

    keys, counts = SqlKeys(database), RedisCounts(link)
    wrong_keys = WrongKeys(counts, per_minute=settings.access.wrong_keys_per_minute)

    usage, profiles, replicas = SqlUsage(database), SqlProfiles(database), SqlReplicas(database)
    quotas = Quotas(usage, settings.access, jobs_waiting=settings.jobs.backlog_limit)
    sharing = Sharing(counts, every_s=settings.access.share_every_s)
    lane = RedisExpress(express)
    figures, ticks = RedisFigures(express), SqlTicks(database)

    cache = SqlResultCache(database)
    costs = CostPorts(
        store=SqlCosts(database, silence_s=settings.serving.node_silence_s, threads=settings.engines.threads),
        prices=SqlPrices(database),
        budgets=SqlBudgets(database),
        settings=settings.costs,
        now_s=store.now_s,
    )

    logs = SqlLogs(database)
    keeper = _keeper(logs, settings)
    tracer = _tracer(settings, store.now_s)

    tenants = SqlTenants(database)
    serving = ServingPorts(
        services=services,
        replicas=replicas,
        leases=SqlLeases(database),
        instances=SqlInstances(database),
        nodes=SqlNodes(database),
        devices=SqlDevices(database),
        ticks=ticks,
        profiles=profiles,
        deployments=SqlDeployments(database),
        models=models,
        kick=kick or Silence(),
        settings=settings.serving,
    )
    outgoing, flow = SqlWebhookSecrets(database), SqlFlow(database, store.now_s)
    alerting = AlertPorts(
        rules=SqlAlertRules(database),
        alerts=SqlAlerts(database),
        sources=SqlAlertSources(database, logs, lambda: budgets.used(costs, only_soft=True)),
        turns=ticks,
        serving=serving,
        tenants=tenants,
        secrets=outgoing,
        settings=settings.alerts,
    )

    def close() -> None:
        sharing.close()
        cache.flush()
        if tracer is not None:
            tracer.close()
        if keeper is not None:
            keeper.close()
        express.close()
        link.close()
        database.close()

    return Core(
        settings=settings,
        jobs=JobPorts(
            store=store,
            commit=GroupCommit(store, bell or Silence(), settings.jobs),
            admission=BacklogQuota(store, quotas),
            fair=FairOrder(profiles, sharing),
            bell=bell or Silence(),
            hot=RedisHotResults(link, settings.results),
            directory=CachedDirectory(services, models),
            settings=settings.jobs,
            pace=CachedPace(replicas, profiles),
            express=lane,
            by_model=CachedByModel(services, models),
            cache=cache,
            figures=figures,
            traces=tracer,
            fallbacks=CachedFallback(
                services,
                models,
                SqlFallback(database, silence_s=settings.serving.node_silence_s),
                after_s=settings.serving.fallback_after_s,
            ),
            large=LargeResults(blobs, inline_bytes=settings.results.inline_bytes),
            spending=BudgetGate(costs.budgets, every_s=settings.costs.refresh_s, currency=settings.costs.currency),
        ),
        bulk=SqlBulk(database),
        progress=RedisProgress(link),
        results=ResultsPorts(samples=SqlSamples(database)),
        serving=serving,
        registry=RegistryPorts(
            models=models,
            uploads=SqlUploads(database),
            blobs=blobs,
            settings=settings.registry,
            engines=settings.engines,
            quotas=quotas,
            keep_s=settings.inputs.keep_s,
            fetch=InputFetch(settings.inputs, settings.blobs),
            marks=ticks,
        ),
        resources=ResourcesPorts(devices=SqlDevices(database)),
        access=AccessPorts(
            keys=keys,
            tenants=tenants,
            audit=SqlAudit(database),
            counts=counts,
            usage=usage,
            settings=settings.access,
        ),
        door=Door(KeyRing(keys, settings.access), wrong_keys, Rates(sharing, settings.access)),
        notify=NotifyPorts(
            outbox=SqlOutbox(database, lambda delivery: webhook.body(store, delivery)),
            secrets=outgoing,
            settings=settings.notify,
            traces=tracer,
            trace=lambda delivery: webhook.trace(store, delivery),
        ),
        costs=costs,
        telemetry=TelemetryPorts(
            flow=flow,
            series=SqlSeries(database),
            figures=figures,
            turns=ticks,
            settings=settings.telemetry,
        ),
        scaling=ScalingPorts(
            store=SqlScaling(database),
            turns=ticks,
            profiles=profiles,
            predictions=_waiting_in(lane),
            predicted=_predicted(figures),
            affordable=_affordable(costs),
            allowed=_allowed(serving, tenants),
        ),
        logs=LogsPorts(store=logs, deploys=logs, settings=settings.logs),
        alerts=alerting,
        reports=ReportPorts(
            store=SqlReports(database),
            sources=SqlReportSources(database, flow.max_batches),
            costs=costs,
            secrets=outgoing,
            nudge=nudge or Silence(),
            settings=settings.reports,
            kept=settings.telemetry,
        ),
        backup=BackupPorts(
            configuration=SqlConfiguration(database),
            snapshots=SqlBackups(database),
            serving=serving,
            alerts=alerting,
            tenants=tenants,
            has_blob=blobs.has,
            settings=settings.backup,
        ),
        ping_store=database.ping,
        ping_redis=link.ping,
        close=close,
    )
