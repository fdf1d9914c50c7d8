"""How a partition's state is saved: the entries of its changelog topic (``entries``), and a call's (``saved_call``)."""
