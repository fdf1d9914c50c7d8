"""One call: its record (``record``), and what each of its events does to the record (``join``)."""
