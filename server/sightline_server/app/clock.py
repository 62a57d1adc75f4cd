"""The one clock of the process, the same that asyncio's timeouts use."""

import time

clock = time.monotonic
