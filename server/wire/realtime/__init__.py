"""The realtime protocols of OpenAI and Azure Voice Live: one codec, two dialects over the same conversation."""
