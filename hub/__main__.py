"""`python -m hub`: the command line."""

import sys

from hub.collector import leave, reading
from hub.hangup import hold_hangups
from hub.standard_streams import open_missing_streams

if __name__ == "__main__":
    open_missing_streams()
    if sys.argv[1:2] == ["serve"]:
        hold_hangups()
    # It takes a second, in which a reload may come.
    with reading():
        from hub.commands.line import main

    leave(main())
