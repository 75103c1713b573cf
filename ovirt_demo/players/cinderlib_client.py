#!/usr/bin/env python3
"""Engine's own cinderlib client, as far as another domain than ours meets it: it answers each verb
with one line, and says which program it is (ovirt-engine 4.5.7, packaging/cinderlib).
"""

import sys

sys.stdout.write(f"{sys.argv[4]}:the stock client ran {sys.argv[1]}\n")
