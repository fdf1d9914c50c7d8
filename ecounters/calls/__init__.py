"""One call: its record (``record``), what each of its events does to it (``join``), and interned texts (``texts``)."""
