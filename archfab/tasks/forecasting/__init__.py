"""Forecasts of time series by N-BEATS: CSV and Parquet files, folders as M4 has them; a generated example by default."""
