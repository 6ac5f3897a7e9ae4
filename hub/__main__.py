"""`python -m hub`: the command line."""

import sys

from hub.hangup import hold_hangups
from hub.standard_streams import open_missing_streams

if __name__ == "__main__":
    open_missing_streams()
    if sys.argv[1:2] == ["serve"]:
        hold_hangups()
    # Reading all of it takes a second, in which a reload may come.
    from hub.commands.line import main

    sys.exit(main())
