"""Language models: the port and its adapters."""
