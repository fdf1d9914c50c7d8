"""How a partition's state is saved: ``entries`` has the entries of its changelog, ``saved_call`` a call's value."""
