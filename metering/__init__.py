"""Facts and money: usage events and the ledger that keeps them.

Imports nothing of ours from outside this room.
"""
