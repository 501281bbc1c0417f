"""The native scan core: C in threads of this process, bound through ctypes."""
