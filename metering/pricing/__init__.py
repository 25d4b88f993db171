"""What usage costs: dated price sheets as data, and cost as a projection over the ledger's sums."""
