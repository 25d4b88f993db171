"""The webhooks' migrations, in order."""
