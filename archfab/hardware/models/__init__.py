"""One file per cost model; a device's TOML file names the one it uses."""
