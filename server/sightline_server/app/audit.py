"""The audit of a process from its settings: the server's log, or a log on the disk as well."""

import asyncio
from contextlib import AsyncExitStack

from sightline_server.access.audit import Audit, LogAudit
from sightline_server.access.audit_log.chain_writer import Rotation
from sightline_server.access.audit_log.file_audit import AuditLogOptions, FileAudit
from sightline_server.access.audit_log.folder import prepare
from sightline_server.settings import AuditSettings
from sightline_server.telemetry.audit import AuditMetrics
from sightline_server.telemetry.metrics import Metrics


def open_audit(stack: AsyncExitStack, settings: AuditSettings, metrics: Metrics) -> Audit:
    """The audit of this process, which ends with `stack`. Raises `SightlineError` of kind CONFIGURATION."""
    if settings.folder is None:
        return LogAudit()
    rotation = Rotation(settings.file_mib * 1024 * 1024, settings.keep_days)
    options = AuditLogOptions(settings.folder, settings.key_file, rotation, required=settings.on_failure == "refuse")
    audit = FileAudit(options, AuditMetrics(metrics))
    stack.push_async_callback(asyncio.to_thread, audit.close)
    return audit


def check_audit(settings: AuditSettings) -> None:
    """Makes the folder of the log and its first key, once. Raises `SightlineError` of kind CONFIGURATION."""
    if settings.folder is not None:
        prepare(settings.folder, settings.key_file)
