"""The agent loop: from what was said to phrases worth speaking."""
