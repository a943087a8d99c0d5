"""What a store of any size will come to, reckoned from numbers alone: bytes, objects, requests, hours, money.

::

    BudgetOptions   rates, bandwidths, a deadline and prices: what only the user knows     options.py
    Size            bytes of a row by encoding, estimated, or measured on a sample         sizes.py
    StoredPart      one teacher in one split: its blocks, and the requests they take       traffic.py
    Lesson          what one training reads, and what the same costs with a teacher        lessons.py
    Costs           money by cause, and from how many students on caching pays             money.py

Nothing here opens data, a network or a store, and nothing takes longer for more rows.
"""
