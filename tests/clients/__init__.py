"""Small clients as the vendor's samples are: they send the same kind of request, each in its own runtime."""
