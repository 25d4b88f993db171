"""The audit log's migrations, in order."""
