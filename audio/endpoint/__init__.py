"""Models that hear whether a speaker has finished."""
