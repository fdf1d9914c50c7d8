"""What a worker serves over HTTP: the API, the push, the dashboard, the documents, and the hop to other workers."""
