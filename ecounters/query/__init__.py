"""What a request asks for: the body, the filter, the range of dates."""
