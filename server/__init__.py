"""The edge: settings, composition root, transports, wire codecs, HTTP routes, contracts and the CLI."""
