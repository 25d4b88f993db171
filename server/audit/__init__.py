"""The audit log: what was done to this server's tenants, keys, budgets and data, by whom, and when."""

from server.audit.log import AUDIT, AuditEntry, AuditLog, AuditQuery, AuditRecord

__all__ = ["AUDIT", "AuditEntry", "AuditLog", "AuditQuery", "AuditRecord"]
