"""One module per Ray job, each `python -m chillflow.jobs.NAME --help`."""
