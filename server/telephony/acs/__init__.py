"""Azure Communication Services: its tokens, its events, and Call Automation's REST API."""
