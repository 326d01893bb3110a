"""What a setting may be: its default, what it means and its range, stated once and checked once.

A schema is a nested mapping of names to settings, to groups (mappings again) and to `free` groups,
whose keys the user chooses. `defaults` makes plain values of it, and `check` refuses whatever does
not fit with one paragraph: the setting, the value that was found, and what is allowed.

>>> rate, sizes = number(0.1, "of learning", above=0), wholes((8,), "of layers", low=1)
>>> schema = {"rate": rate, "sizes": sizes}
>>> defaults(schema)
{'rate': 0.1, 'sizes': (8,)}
>>> check({"rate": 1, "sizes": [4, 2]}, schema)
{'rate': 1.0, 'sizes': (4, 2)}
>>> check({"rate": float("nan"), "sizes": (8,)}, schema)
Traceback (most recent call last):
    ...
ValueError: config.rate is nan; it must be a finite float32 number above 0, e.g. 0.1.
"""

from eqssl_jax.settings.checking import (
    TOO_DEEP,
    accept,
    check,
    defaults,
    differences,
    find,
    merged,
    values_of,
)
from eqssl_jax.settings.ranges import (
    GREATEST,
    LARGEST,
    SMALLEST,
    Free,
    Schema,
    Setting,
    also,
    choice,
    either,
    flag,
    free,
    names,
    number,
    numbers,
    shown,
    text,
    where,
    whole,
    wholes,
)
