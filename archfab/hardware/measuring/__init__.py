"""Timing on this machine and over ssh, tables of what was timed, and memory layouts compared."""
