"""Pydantic models of the public API; OpenAPI, AsyncAPI and JSON Schema generated from them."""
