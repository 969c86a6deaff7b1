"""What the core takes at most, where Python can say more about it; a test compares these with the core's numbers."""

AMOUNT = 9e14  # of a resource
NODE_UNITS = 1e6  # CPUs or GPUs of a node
LEAST_STORE_BYTES, MOST_STORE_BYTES = 1 << 20, 1 << 46  # of an object store
BUNDLES = 4096  # of a placement group
CODE_BYTES = 8 << 20  # of a function or class
COUNT = 2**31 - 1  # int32_t

# An error travels in one message, so its text, its traceback and its cause are cut to these.
ERROR_TEXT = 32 << 10
ERROR_CAUSE = 768 << 10
