"""What all tests rely on."""

import signal

# Shells start background commands with SIGINT ignored, and children inherit that: tests
# of Ctrl-C would then wait for something that cannot happen.
signal.signal(signal.SIGINT, signal.default_int_handler)
