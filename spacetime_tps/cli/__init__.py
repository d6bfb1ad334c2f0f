"""The command line: one thin file a verb.

For ``python -c`` and in a shell of Python the working folder is the first place from which modules come. The command
takes none from there: the folder may be a stranger's.
"""

import sys

sys.path[:] = [entry for entry in sys.path if entry]
