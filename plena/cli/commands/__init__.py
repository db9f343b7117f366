"""The subcommands of `plena`, one file each."""
