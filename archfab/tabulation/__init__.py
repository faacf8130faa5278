"""New benchmark tables: every architecture of a small space trained, and the result written as files."""
