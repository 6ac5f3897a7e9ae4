"""What everything above stands on: operations, the log, access, storage, settings, errors, time."""
