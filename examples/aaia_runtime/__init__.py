"""The AAIA runtime that PersefonBot drives: apps, sessions, mundos and FIAs that really reason.

It knows no hub and no room: it returns the contract's data and tells what happened
through a function that it is given.
"""
